import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { type BuiltImage, cosignTag, MEDIA_TYPES } from '../support/images.ts';
import { filesBelow } from '../support/place.ts';
import { runCommand } from './command.ts';
import { specimens } from './comparison/images.ts';
import { homeEnvironment, regctlHosts } from './copy-tools.ts';
import { pushImage } from './seed.ts';
import {
  type RealServer,
  REGISTRY_PASSWORD,
  startCraneRegistry,
  startDistribution,
  startOlareg,
  startOldDistribution,
} from './servers.ts';
import { installTools, type Tools } from './tools.ts';

/** Content of every kind from every place to every place, signed by cosign, and read back by those who did not copy it. */

const auth = { user: 'tester', password: REGISTRY_PASSWORD };
const makers = {
  'distribution v3 with htpasswd': (directory: string) => startDistribution(directory, { auth }),
  'docker-registry 2.8': (directory: string) => startOldDistribution(directory),
  'crane registry': (directory: string) => startCraneRegistry(directory),
  'olareg with bearer tokens': (directory: string) => startOlareg(directory, { auth, bearer: true }),
};
type Maker = keyof typeof makers;
const makerNames = Object.keys(makers) as Maker[];
const layout = 'layout';
const content = specimens();
const signed = content.filter(({ name }) => name === 'index');
const sbomType = 'application/spdx+json';
const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const signatureType = 'application/vnd.dev.cosign.artifact.sig.v1+json';
/** The ways in which cosign keeps a signature: a `.sig` tag, a referrer of its own type, and a sigstore bundle that refers. */
const cosignForms = {
  tag: { sign: ['--new-bundle-format=false'], verify: ['--new-bundle-format=false'] },
  'oci-1-1': {
    sign: ['--new-bundle-format=false', '--registry-referrers-mode=oci-1-1'],
    verify: ['--new-bundle-format=false', '--experimental-oci11'],
  },
  bundle: { sign: [], verify: ['--new-bundle-format=true'] },
};

let tools: Tools;
let directory: string;
let env: Record<string, string>;
const servers = new Map<string, RealServer>();

beforeAll(async () => {
  tools = await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-copies-'));
  for (const name of makerNames) {
    const place = join(directory, name.replaceAll(/\W+/g, '-'));
    await mkdir(place);
    servers.set(name, await makers[name](place));
  }
  env = await homeEnvironment(
    directory,
    [...servers.values()].map(({ host }) => ({ host, ...auth })),
  );
  await runCommand(tools.cosign, ['generate-key-pair'], { cwd: directory, env });
  await writeFile(join(directory, 'sbom.json'), '{"spdxVersion":"SPDX-2.3"}');
  for (const name of makerNames) await seed(name);
  for (const { name } of content)
    await sie(['copy', sourceOf('olareg with bearer tokens', name), `oci:layout:${name}`]);
});

afterAll(async () => {
  for (const server of servers.values()) await server.stop();
  if (directory) await rm(directory, { recursive: true, force: true });
});

const hostOf = (maker: string): string => servers.get(maker)?.host ?? '';

function sourceOf(place: string, name: string): string {
  return place === layout ? `oci:layout:${name}` : `${hostOf(place)}/source/${name}:v1`;
}

async function sie(args: string[]): Promise<string> {
  const insecure = [...servers.values()].flatMap(({ host }) => ['--insecure-host', host]);
  const result = await runCli([...args, ...insecure], { cwd: directory, env });
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return result.stdout;
}

/** Everything by plain requests, and then signatures in each of cosign's forms and an SBOM by oras, as users make them. */
async function seed(maker: Maker): Promise<void> {
  for (const { name, image } of content) {
    await pushImage(hostOf(maker), `source/${name}`, image, 'v1', await authorizationFor(maker, `source/${name}`));
  }
  for (const { name, image } of signed) {
    const reference = `${hostOf(maker)}/source/${name}@${image.digest}`;
    const sign = ['sign', '--yes', '--recursive', '--key', 'cosign.key', '--allow-http-registry'];
    const quiet = ['--tlog-upload=false', '--use-signing-config=false'];
    for (const form of Object.values(cosignForms))
      await runCommand(tools.cosign, [...sign, ...quiet, ...form.sign, reference], {
        cwd: directory,
        env: { ...env, COSIGN_EXPERIMENTAL: '1' },
      });
    const attach = ['attach', '--no-tty', '--plain-http', '--artifact-type', sbomType, reference];
    await runCommand(tools.oras, [...attach, 'sbom.json:application/json'], { cwd: directory, env });
  }
}

async function authorizationFor(maker: Maker, repository: string): Promise<string | undefined> {
  const basic = `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString('base64')}`;
  if (!maker.includes('bearer')) return basic;
  const ping = await fetch(`http://${hostOf(maker)}/v2/`);
  const challenge = ping.headers.get('www-authenticate') ?? '';
  const [realm = '', service = ''] = ['realm', 'service'].map((key) => {
    return new RegExp(`${key}="([^"]*)"`).exec(challenge)?.[1];
  });
  const query = new URLSearchParams({ service, scope: `repository:${repository}:pull,push` });
  const answer = await fetch(`${realm}?${query.toString()}`, { headers: { authorization: basic } });
  const { token, access_token: other } = (await answer.json()) as { token?: string; access_token?: string };
  return `Bearer ${token ?? other}`;
}

const digestOf = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

async function skopeoDigest(image: string, flags: string[] = []): Promise<string> {
  return digestOf(await runCommand(tools.skopeo, ['inspect', '--raw', ...flags, image], { env }));
}

async function regctlDigest(reference: string, flags: string[] = []): Promise<string> {
  const get = ['manifest', 'get', ...flags, '--format', 'raw-body', reference];
  return digestOf(await runCommand(tools.regctl, get, { env }));
}

/** What of an image oras does not bring into a layout; it verifies what it reads. */
async function missingFrom(from: string[], { digest, manifests, blobs }: BuiltImage): Promise<string[]> {
  const place = await mkdtemp(join(directory, 'read-'));
  const target = `${place}:${digest.slice(7, 19)}`;
  await runCommand(tools.oras, ['cp', '--no-tty', '-r', ...from, '--to-oci-layout', target], { env });
  const files = await filesBelow(place);
  await rm(place, { recursive: true });
  const wanted = [...manifests.keys(), ...blobs.keys()].map((each) => `blobs/sha256/${each.slice(7)}`);
  return wanted.filter((path) => !files.includes(path));
}

/** Throws when a signature of the index or of an image in it does not verify, in any of its forms. */
async function verifySignatures(reference: string, image: BuiltImage): Promise<void> {
  const verify = ['verify', '--key', 'cosign.pub', '--insecure-ignore-tlog', '--allow-http-registry'];
  const repository = reference.replace(/:v1$/, '');
  for (const digest of image.manifests.keys())
    for (const form of Object.values(cosignForms))
      await runCommand(tools.cosign, [...verify, ...form.verify, `${repository}@${digest}`], { cwd: directory, env });
}

async function referrerTypes(reference: string): Promise<string[]> {
  const list = ['artifact', 'list', ...regctlHosts([reference]), '--format', '{{json .Descriptors}}', reference];
  const found = JSON.parse(await runCommand(tools.regctl, list, { env })) as { artifactType: string }[];
  return found.map(({ artifactType }) => artifactType).toSorted();
}

describe.each([...makerNames, layout])('from %s', (from) => {
  it.each(makerNames)('to %s: digests, content, signatures and referrers', async (to) => {
    const prefix = `${hostOf(to)}/from-${from.replaceAll(/\W+/g, '-').toLowerCase()}`;
    for (const { name, image, layers } of content) {
      const reference = `${prefix}/${name}:v1`;
      await sie(['copy', sourceOf(from, name), reference]);
      expect(await skopeoDigest(`docker://${reference}`, ['--tls-verify=false'])).toBe(image.digest);
      expect(await regctlDigest(reference, regctlHosts([reference]))).toBe(image.digest);
      expect(await missingFrom(['--from-plain-http', reference], image)).toEqual([]);
      if (layers) await runCommand(tools.crane, ['validate', '--insecure', '--remote', reference], { env });
    }
    for (const { name, image } of signed) {
      const reference = `${prefix}/${name}:v1`;
      await verifySignatures(reference, image);
      expect(await referrerTypes(reference)).toEqual([bundleType, sbomType, signatureType].toSorted());
    }
  });

  it('to a layout: read by skopeo, regctl and oras, referrers included', async () => {
    const target = await mkdtemp(join(directory, 'target-'));
    for (const { name, image } of content) {
      await sie(['copy', sourceOf(from, name), `oci:${target}:${name}`]);
      const digests = [await regctlDigest(`ocidir://${target}:${name}`)];
      // skopeo passes over docker's media types in the index of a layout.
      if (image.mediaType !== MEDIA_TYPES.dockerList) digests.push(await skopeoDigest(`oci:${target}:${name}`));
      expect(new Set(digests)).toEqual(new Set([image.digest]));
      expect(await missingFrom(['--from-oci-layout', `${target}:${name}`], image)).toEqual([]);
    }
    for (const { image } of signed) {
      const discover = ['discover', '--oci-layout', '--format', 'json', `${target}@${image.digest}`];
      const found = await runCommand(tools.oras, discover, { env });
      expect(found).toContain(sbomType);
      expect(found).toContain(bundleType);
      expect(found).toContain(signatureType);
      const index = await readFile(join(target, 'index.json'), 'utf8');
      for (const digest of image.manifests.keys()) expect(index).toContain(cosignTag(digest));
    }
  });
});
