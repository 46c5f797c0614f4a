import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sourceDigestAnnotation } from '../../src/oci/platform.ts';
import { withCopyWorld } from '../support/copy-command.ts';
import { failureOf } from '../support/failures.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
  type ImagePlatform,
  MEDIA_TYPES,
  multiArch,
} from '../support/images.ts';
import { digestOf } from '../support/digest.ts';
import { filesBelow } from '../support/place.ts';
import type { TestRegistry } from '../support/registry.ts';

const repository = 'team/app';
const from = { source: `SOURCE/${repository}:v1`, target: `ZONE/${repository}:v1` };

interface IndexDocument {
  mediaType: string;
  manifests: { digest: string; platform?: ImagePlatform }[];
  annotations: Record<string, string>;
  [other: string]: unknown;
}

function indexAt(registry: TestRegistry, reference = 'v1'): IndexDocument {
  return JSON.parse(Buffer.from(registry.manifest(repository, reference)?.bytes ?? []).toString()) as IndexDocument;
}

/** What the index at the target names and the target lacks. */
function holesAt(zone: TestRegistry): string[] {
  return indexAt(zone)
    .manifests.map(({ digest }) => digest)
    .filter((digest) => zone.manifest(repository, digest) === undefined);
}

/** An index with an attestation for each image, as BuildKit makes it, and with fields that nobody knows. */
function attested(images: BuiltImage[], docker = false): BuiltImage {
  const attestations = images.map((_, index) => buildArtifact({ seed: `attestation ${index}`, artifactType: 'x/y' }));
  const entries = [
    ...images.map((image) => descriptorOf(image)),
    ...attestations.map((attestation, index) => ({
      ...descriptorOf(attestation),
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': images[index]?.digest ?? '',
      },
    })),
  ];
  const mediaType = docker ? MEDIA_TYPES.dockerList : MEDIA_TYPES.ociIndex;
  const bytes = Buffer.from(
    JSON.stringify({ 'x-unknown': [1], schemaVersion: 2, mediaType, manifests: entries, annotations: { kept: 'yes' } }),
  );
  const digest = digestOf(bytes);
  const parts = [...images, ...attestations];
  return {
    mediaType,
    digest,
    bytes,
    blobs: new Map(parts.flatMap(({ blobs }) => [...blobs])),
    manifests: new Map([...parts.flatMap(({ manifests }) => [...manifests]), [digest, { mediaType, bytes }]]),
  };
}

const platforms = ['linux/amd64', 'linux/arm64/v8', 'linux/arm/v6', 'linux/arm/v7'];
const images = (): BuiltImage[] =>
  platforms.map((name) => {
    const [os = '', architecture = '', variant] = name.split('/');
    return buildImage({ seed: name, platform: { os, architecture, ...(variant === undefined ? {} : { variant }) } });
  });

describe('--platform', () => {
  it.each([false, true])(
    'makes an index of the chosen platforms with their attestations (docker: %s)',
    async (docker) => {
      await withCopyWorld({}, async ({ source, zone, run }) => {
        const index = attested(images(), docker);
        source.put(repository, index, 'v1');

        const report = await run({ ...from, platforms: ['linux/arm64', 'linux/arm/v7'] });

        const made = indexAt(zone);
        const before = indexAt(source).manifests;
        expect(made.manifests).toEqual([before[1], before[3], before[5], before[7]]);
        expect(made).toMatchObject({ mediaType: index.mediaType, 'x-unknown': [1], schemaVersion: 2 });
        expect(made.annotations).toEqual({ kept: 'yes', [sourceDigestAnnotation]: index.digest });
        expect(holesAt(zone)).toEqual([]);
        expect(report.items[0]).toMatchObject({
          digest: zone.manifest(repository, 'v1')?.digest,
          detail: { sourceDigest: index.digest, platforms: ['linux/arm64', 'linux/arm/v7'] },
        });
        expect(report.summary.join('\n')).toContain(index.digest);
      });
    },
  );

  it('leaves an attestation out that the source has lost, and names it', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const index = attested(images());
      source.put(repository, index, 'v1');
      const [, , , , , attestation, other] = indexAt(source).manifests;
      source.remove(repository, attestation?.digest ?? '');
      source.remove(repository, other?.digest ?? '');

      const report = await run({ ...from, platforms: ['linux/arm64', 'linux/arm/v7'] });

      const before = indexAt(source).manifests;
      expect(indexAt(zone).manifests).toEqual([before[1], before[3], before[7]]);
      expect(holesAt(zone)).toEqual([]);
      expect(report.exit).toBe(3);
      expect(report.items).toMatchObject([
        { kind: 'image', state: 'done' },
        { kind: 'referrers', error: { code: 'E_NOT_FOUND' }, detail: { names: [attestation?.digest] } },
      ]);
    });
  });

  it('reads and moves nothing of the other platforms', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const all = images();
      source.put(repository, attested(all), 'v1');

      await run({ ...from, platforms: ['linux/amd64'] });

      for (const other of all.slice(1)) {
        expect(source.server.count(new RegExp(`GET .*${other.digest}`))).toBe(0);
        for (const blob of other.blobs.keys()) expect(zone.blob(repository, blob)).toBeUndefined();
      }
    });
  });

  it('gives the same digest each time, and moves nothing the second time', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      source.put(repository, attested(images()), 'v1');
      const asked = { ...from, platforms: ['linux/amd64,linux/arm64'], referrers: false };
      const first = await run(asked);
      const before = zone.server.count(/^(?:POST|PUT|PATCH) /);

      const second = await run(asked);

      expect(second.items[0]).toMatchObject({ digest: first.items[0]?.digest, state: 'present', bytes: 0 });
      expect(zone.server.count(/^(?:POST|PUT|PATCH) /)).toBe(before);
    });
  });

  it('leaves an index as it is when all of it was chosen', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const index = attested(images());
      source.put(repository, index, 'v1');

      const report = await run({ ...from, platforms });

      expect(zone.manifest(repository, 'v1')?.digest).toBe(index.digest);
      expect(report.items[0]?.detail).not.toHaveProperty('sourceDigest');
    });
  });

  it('chooses inside nested indexes, and keeps of them what was chosen', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const [amd64, arm64, armv6] = images() as [BuiltImage, BuiltImage, BuiltImage];
      const inner = buildIndex({ children: [amd64, arm64] });
      const outer = buildIndex({ children: [inner, buildIndex({ children: [armv6] })] });
      source.put(repository, outer, 'v1');

      await run({ ...from, platforms: ['linux/arm64'] });

      const [nested, ...more] = indexAt(zone).manifests;
      expect(more).toEqual([]);
      const made = indexAt(zone, nested?.digest);
      expect(made.manifests.map(({ digest }) => digest)).toEqual([arm64.digest]);
      expect(made.annotations[sourceDigestAnnotation]).toBe(inner.digest);
    });
  });

  it('looks into the config where the index names no platform', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const unnamed = images();
      for (const image of unnamed) delete image.platform;
      source.put(repository, buildIndex({ children: unnamed }), 'v1');

      await run({ ...from, platforms: ['linux/arm/v6'] });

      expect(indexAt(zone).manifests.map(({ digest }) => digest)).toEqual([unnamed[2]?.digest]);
    });
  });

  it.each([['linux/s390x'], ['linux/arm/v5'], ['windows/amd64'], ['linux/amd64,linux/s390x']])(
    'names what there is when %s is missing, and moves nothing',
    async (wanted) => {
      await withCopyWorld({}, async ({ source, zone, run }) => {
        source.put(repository, attested(images()), 'v1');

        const error = await failureOf(run({ ...from, platforms: [wanted] }));

        expect([error.code, error.at.side]).toEqual(['E_NOT_FOUND', 'source']);
        for (const there of ['linux/amd64', 'linux/arm64', 'linux/arm/v6', 'linux/arm/v7'])
          expect(error.hint).toContain(there);
        expect(error.hint).not.toContain('unknown');
        expect(zone.repositories()).toEqual([]);
      });
    },
  );

  it('copies an image that is no index as it is, if it is of the platform', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const image = buildImage({ seed: 1, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } });
      source.put(repository, image, 'v1');

      expect((await failureOf(run({ ...from, platforms: ['linux/amd64'] }))).code).toBe('E_NOT_FOUND');
      await run({ ...from, platforms: ['linux/arm64'] });

      expect(zone.manifest(repository, 'v1')?.digest).toBe(image.digest);
    });
  });

  it('says of an artifact that it has no platform', async () => {
    await withCopyWorld({}, async ({ source, run }) => {
      source.put(repository, buildArtifact({ seed: 1, artifactType: 'x/y' }), 'v1');

      expect((await failureOf(run({ ...from, platforms: ['linux/amd64'] }))).code).toBe('E_NOT_FOUND');
    });
  });

  it('takes signatures of the chosen along, and says how many of the index it left out', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const [amd64, arm64] = images() as [BuiltImage, BuiltImage];
      const index = buildIndex({ children: [amd64, arm64] });
      source.put(repository, index, 'v1');
      const sbomOf = (subject: BuiltImage): BuiltImage =>
        buildArtifact({ seed: subject.digest, artifactType: 'application/spdx+json', subject: descriptorOf(subject) });
      for (const image of [index, amd64, arm64]) {
        source.put(repository, sbomOf(image));
        source.put(repository, cosignSignature(image), cosignTag(image.digest));
      }

      const report = await run({ ...from, platforms: ['linux/amd64'] });

      expect(zone.tags(repository)).toEqual([cosignTag(amd64.digest), 'v1'].sort());
      expect(zone.manifest(repository, sbomOf(amd64).digest)).toBeDefined();
      expect(zone.manifest(repository, sbomOf(arm64).digest)).toBeUndefined();
      expect(zone.manifest(repository, sbomOf(index).digest)).toBeUndefined();
      expect(report.items[0]?.detail).toMatchObject({ leftBehind: 2 });
    });
  });

  it('refuses to put a smaller index under the digest of the larger one', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const index = attested(images());
      source.put(repository, index, 'v1');

      const error = await failureOf(
        run({ ...from, target: `ZONE/${repository}@${index.digest}`, platforms: ['linux/amd64'] }),
      );

      expect(error.code).toBe('E_USAGE');
      expect(zone.repositories()).toEqual([]);
    });
  });

  it.each(['linux', 'linux/', '/amd64', 'linux/arm/v7/x', 'linux amd64'])(
    'refuses %j as a platform',
    async (platform) => {
      await withCopyWorld({}, async ({ run }) => {
        expect((await failureOf(run({ ...from, platforms: [platform] }))).code).toBe('E_USAGE');
      });
    },
  );
});

describe('--sparse', () => {
  it('keeps the index as it is, where the registry takes it', async () => {
    await withCopyWorld({ zone: { sparse: true } }, async ({ source, zone, run }) => {
      const all = images();
      const index = attested(all);
      source.put(repository, index, 'v1');

      const report = await run({ ...from, platforms: ['linux/amd64'], sparse: true });

      expect(zone.manifest(repository, 'v1')?.digest).toBe(index.digest);
      expect(zone.manifest(repository, all[0]?.digest ?? '')).toBeDefined();
      expect(zone.manifest(repository, all[1]?.digest ?? '')).toBeUndefined();
      expect(report.items[0]?.detail).toMatchObject({ sparse: true });
    });
  });

  it('is advised against where the registry refuses, and leaves no tag', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      source.put(repository, attested(images()), 'v1');

      const error = await failureOf(run({ ...from, platforms: ['linux/amd64'], sparse: true }));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(error.hint).toContain('--sparse');
      expect(zone.tags(repository)).toEqual([]);
    });
  });

  it('leaves holes that another platform and then a whole copy fill', async () => {
    await withCopyWorld({ zone: { sparse: true } }, async ({ source, zone, run }) => {
      const all = images();
      source.put(repository, attested(all), 'v1');
      await run({ ...from, platforms: ['linux/amd64'], sparse: true });

      await run({ ...from, platforms: ['linux/arm64'], sparse: true });
      expect(zone.manifest(repository, all[1]?.digest ?? '')).toBeDefined();
      expect(holesAt(zone)).toHaveLength(4);
      await run(from);

      expect(holesAt(zone)).toEqual([]);
      for (const { blobs } of all) for (const blob of blobs.keys()) expect(zone.blob(repository, blob)).toBeDefined();
    });
  });

  it.each([true, false])(
    'makes a layout that is not taken for whole: a later copy fills it (referrers: %s)',
    async (referrers) => {
      await withCopyWorld({}, async ({ source, zone, directory, run }) => {
        source.put(repository, attested(images()), 'v1');
        const layout = 'oci:layout:app:v1';
        await run({ source: from.source, target: layout, platforms: ['linux/amd64'], sparse: true });
        const holes = await failureOf(run({ source: layout, target: from.target }));

        await run({ source: from.source, target: layout, referrers });
        await run({ source: layout, target: from.target });

        expect(holes.code).toBe('E_NOT_FOUND');
        expect(holes.hint).toContain('--platform');
        expect(indexAt(source).manifests.some(({ digest }) => holes.message.includes(digest))).toBe(true);
        expect(holesAt(zone)).toEqual([]);
        expect(JSON.parse(await readFile(join(directory, 'layout/index.json'), 'utf8'))).toMatchObject({
          manifests: [{ digest: zone.manifest(repository, 'v1')?.digest }],
        });
      });
    },
  );

  const nested = ([amd64, ...others]: BuiltImage[]): BuiltImage =>
    buildIndex({ children: [buildIndex({ children: amd64 ? [amd64] : [] }), buildIndex({ children: others })] });
  const flat = (children: BuiltImage[]): BuiltImage => buildIndex({ children });

  it.each([
    ['--platform makes an index of what is there', nested, { platforms: ['linux/amd64'] }, {}],
    ['--platform makes a flat index of what is there', flat, { platforms: ['linux/amd64'] }, {}],
    ['--sparse keeps the holes', nested, { sparse: true }, { sparse: true }],
    ['--sparse keeps the holes of a flat index', flat, { sparse: true }, { sparse: true }],
  ])('makes a layout of which %s', async (_, indexOf, options, zoneOptions) => {
    await withCopyWorld({ zone: zoneOptions }, async ({ source, zone, directory, run }) => {
      const all = images();
      const [amd64, ...others] = all as [BuiltImage, ...BuiltImage[]];
      source.put(repository, indexOf(all), 'v1');
      await run({ source: from.source, target: 'oci:layout', platforms: ['linux/amd64'], sparse: true });

      await run({ source: 'oci:layout', target: from.target, ...options });

      expect(zone.manifest(repository, amd64.digest)).toBeDefined();
      for (const { digest } of others) expect(zone.manifest(repository, digest)).toBeUndefined();
      expect((await filesBelow(directory)).filter((path) => path.endsWith('.partial'))).toEqual([]);
    });
  });
});

it('reads what an image of many platforms has by their usual names', async () => {
  await withCopyWorld({}, async ({ source, zone, run }) => {
    source.put(repository, multiArch('many', ['linux/amd64', 'linux/arm64', 'darwin/arm64']), 'v1');

    await run({ ...from, platforms: ['linux/x86_64', 'macos/aarch64'] });

    expect(indexAt(zone).manifests.map(({ platform }) => platform)).toEqual([
      { os: 'linux', architecture: 'amd64' },
      { os: 'darwin', architecture: 'arm64' },
    ]);
  });
});
