import {
  buildArtifact,
  buildIndex,
  cosignTag,
  descriptorOf,
  fallbackTag,
  MEDIA_TYPES,
  multiArch,
} from '../../support/images.ts';
import { pushImage, putManifest } from '../seed.ts';
import { type ComparisonRow, digestAt, failureOf, manifestAt, none } from './finding.ts';
import { pushSigned, type SignedImage, signedImage, specimens } from './images.ts';

/** Rows about what arrives. */

export const digests: ComparisonRow = {
  title: 'every kind of content, digests kept',
  about:
    'an OCI index, a docker list, a nested index, an artifact with the empty config, a Helm chart, and the index by `tag@digest`; from distribution to distribution',
  measure: async (tool, lab) => {
    const [source, target] = [await lab.distribution(), await lab.distribution()];
    const lost: string[] = [];
    const copied = async (name: string, from: string, digest: string): Promise<void> => {
      const run = await lab.run(tool, { source: from, target: `${target.host}/${name}:v1` });
      if (run?.code !== 0 || (await digestAt(target.host, name, 'v1')) !== digest) lost.push(name);
    };
    for (const { name, image } of specimens()) {
      await pushImage(source.host, name, image, 'v1');
      await copied(name, `${source.host}/${name}:v1`, image.digest);
      if (name === 'index') await copied('tag-and-digest', `${source.host}/${name}:v1@${image.digest}`, image.digest);
    }
    return lost.length === 0 ? { verdict: 'ok', detail: '' } : { verdict: 'fails', detail: `not ${lost.join(', ')}` };
  },
};

export const referrers: ComparisonRow = {
  title: 'referrers and cosign tags',
  about:
    'an index with an SBOM that refers to it, an attestation that refers to one of its images, and a `.sig` tag of that image; from olareg, which has the referrers API, to distribution, which has not, and to olareg',
  measure: async (tool, lab) => {
    const image = signedImage();
    const source = await lab.olareg();
    await pushSigned(source.host, 'signed', image, 'v1', false);
    const found: string[] = [];
    for (const [place, server] of [
      ['distribution', await lab.distribution()],
      ['olareg', await lab.olareg()],
    ] as const) {
      const run = await lab.run(tool, {
        source: `${source.host}/signed:v1`,
        target: `${server.host}/signed:v1`,
        referrers: true,
      });
      const failure = failureOf(run);
      if (failure) return failure;
      const count = (await arrived(server.host, image)).length;
      if (count < 3) found.push(`${place} ${count} of 3`);
    }
    return found.length === 0
      ? { verdict: 'ok', detail: '3 of 3' }
      : { verdict: 'partly', detail: `arrived: ${found.join(', ')}` };
  },
};

async function arrived(host: string, { root, child, sbom, attestation }: SignedImage): Promise<string[]> {
  const names: string[] = [];
  if ((await referrersAt(host, 'signed', root.digest)).includes(sbom.digest)) names.push('sbom');
  if ((await referrersAt(host, 'signed', child.digest)).includes(attestation.digest)) names.push('attestation');
  if ((await digestAt(host, 'signed', cosignTag(child.digest))) !== undefined) names.push('signature');
  return names;
}

/** By the API, or by the fallback tag where there is none. */
async function referrersAt(host: string, repository: string, digest: string): Promise<string[]> {
  const api = await fetch(`http://${host}/v2/${repository}/referrers/${digest}`);
  const response = api.ok ? api : await manifestAt(host, repository, fallbackTag(digest));
  if (!response.ok) return [];
  const { manifests = [] } = (await response.json()) as { manifests?: { digest: string }[] };
  return manifests.map((each) => each.digest);
}

export const lostReferrer: ComparisonRow = {
  title: 'a referrer that the source has lost',
  about:
    'an index with two referrers in distribution, of which one was deleted while the list behind the fallback tag still names it; the index and the other referrer have to arrive in distribution, and the output has to name the lost digest',
  measure: async (tool, lab) => {
    const [source, target] = [await lab.distribution(), await lab.distribution()];
    const { root, sbom } = signedImage();
    const lost = buildArtifact({ seed: 'lost', artifactType: 'application/x.lost', subject: descriptorOf(root) });
    await pushImage(source.host, 'signed', root, 'v1');
    for (const referrer of [sbom, lost]) await pushImage(source.host, 'signed', referrer);
    const list = `http://${source.host}/v2/signed/manifests/${fallbackTag(root.digest)}`;
    await putManifest(list, MEDIA_TYPES.ociIndex, buildIndex({ children: [sbom, lost] }).bytes);
    await fetch(`http://${source.host}/v2/signed/manifests/${lost.digest}`, { method: 'DELETE' });
    const run = await lab.run(tool, {
      source: `${source.host}/signed:v1`,
      target: `${target.host}/signed:v1`,
      referrers: true,
    });
    if (!run || run.timedOut) return failureOf(run) ?? none;
    if ((await digestAt(target.host, 'signed', 'v1')) !== root.digest) return { verdict: 'fails', detail: 'no image' };
    const missing = [
      ...((await referrersAt(target.host, 'signed', root.digest)).includes(sbom.digest) ? [] : ['no referrer arrives']),
      ...(`${run.stdout}${run.stderr}`.includes(lost.digest) ? [] : ['nothing is said']),
    ];
    return { verdict: missing.length === 0 ? 'ok' : 'partly', detail: missing.join(', ') };
  },
};

export const digestTagIsSubject: ComparisonRow = {
  title: 'the tag `sha256-<hex>` gives the subject',
  about:
    'both registries have no referrers API and answer the fallback tag with the manifest of that very digest, as GitLab does',
  measure: async (tool, lab) => {
    const trap = { referrers: false, digestTagIsSubject: true };
    const [source, target] = [await lab.standIn(trap), await lab.standIn(trap)];
    const { root, child, signature } = signedImage();
    source.put('signed', root, 'v1');
    source.put('signed', signature, cosignTag(child.digest));
    const run = await lab.run(tool, {
      source: `${source.host}/signed:v1`,
      target: `${target.host}/signed:v1`,
      referrers: true,
    });
    const failure = failureOf(run);
    if (failure) return failure;
    if (target.manifest('signed', 'v1')?.digest !== root.digest) return { verdict: 'fails', detail: '' };
    const strange = target.tags('signed').filter((tag) => tag.startsWith('sha256-') && !tag.endsWith('.sig'));
    if (strange.length > 0) return { verdict: 'partly', detail: 'wrote a fallback tag with things that do not refer' };
    const signed = target.tags('signed').includes(cosignTag(child.digest));
    return signed ? { verdict: 'ok', detail: '' } : { verdict: 'partly', detail: 'no `.sig` tag' };
  },
};

export const platforms: ComparisonRow = {
  title: 'one platform / two of three as an index',
  about:
    '`linux/arm64`, and `linux/amd64,linux/arm64`, of an index of three; the second has to give an index of just these two that distribution accepts',
  measure: async (tool, lab) => {
    const [source, target] = [await lab.distribution(), await lab.distribution()];
    const image = multiArch('three', ['linux/amd64', 'linux/arm64', 'linux/s390x']);
    await pushImage(source.host, 'three', image, 'v1');
    const copied = async (wanted: string[], name: string): Promise<string> => {
      const request = { source: `${source.host}/three:v1`, target: `${target.host}/${name}:v1`, platforms: wanted };
      const run = await lab.run(tool, request);
      return run?.code === 0 ? architecturesAt(target.host, name) : '';
    };
    const one = await copied(['linux/arm64'], 'one');
    const two = await copied(['linux/amd64', 'linux/arm64'], 'two');
    const works = [one === 'arm64', two === 'amd64 arm64'];
    const detail = works.map((each) => (each ? 'ok' : 'no')).join(' / ');
    if (works.every(Boolean)) return { verdict: 'ok', detail };
    return works[0] === true ? { verdict: 'partly', detail } : { verdict: 'fails', detail };
  },
};

interface ManifestDocument {
  manifests?: { platform?: { architecture: string } }[];
  config?: { digest: string };
}

/** Of an index or of one image, as `amd64 arm64`. */
async function architecturesAt(host: string, repository: string): Promise<string> {
  const { manifests, config } = (await (await manifestAt(host, repository, 'v1')).json()) as ManifestDocument;
  if (manifests) return manifests.map(({ platform }) => platform?.architecture).join(' ');
  const blob = await fetch(`http://${host}/v2/${repository}/blobs/${config?.digest}`);
  return ((await blob.json()) as { architecture: string }).architecture;
}
