import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type CopyWorld, withCopyWorld } from '../support/copy-command.ts';
import { digestOf } from '../support/digest.ts';
import { failureOf } from '../support/failures.ts';
import {
  type ArtifactOptions,
  type BlobContent,
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  descriptorOf,
  MEDIA_TYPES,
} from '../support/images.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const repository = 'team/app';
const order = { source: `SOURCE/${repository}:v1`, target: `ZONE/${repository}:v1` };

/** The same image with another text, and so another digest. */
function edited(
  image: BuiltImage,
  edit: (document: Record<string, unknown>) => void,
  mediaType = image.mediaType,
): BuiltImage {
  const document = JSON.parse(Buffer.from(image.bytes).toString()) as Record<string, unknown>;
  edit(document);
  const bytes = Buffer.from(JSON.stringify(document));
  const digest = digestOf(bytes);
  const manifests = new Map([...image.manifests].filter(([other]) => other !== image.digest));
  return { ...image, mediaType, bytes, digest, manifests: manifests.set(digest, { mediaType, bytes }) };
}

/** What is not at the target byte for byte. */
function missing({ zone }: CopyWorld, image: BuiltImage): string[] {
  const same = (found: Uint8Array | undefined, wanted: Uint8Array): boolean =>
    found !== undefined && Buffer.from(found).equals(wanted);
  return [
    // By sha512 a registry knows what was pushed by digest; what a tag names it calls by sha256.
    ...(same(zone.manifest(repository, 'v1')?.bytes, image.bytes) ? [] : ['v1']),
    ...[...image.manifests]
      .filter(([digest, { bytes }]) => !same(zone.manifest(repository, digest)?.bytes, bytes))
      .map(String),
    ...[...image.blobs].filter(([digest, bytes]) => !same(zone.blob(repository, digest), bytes)).map(String),
  ];
}

const blob = (mediaType: string, text = mediaType): BlobContent => ({ mediaType, bytes: Buffer.from(text) });

describe('content of any kind arrives byte for byte', () => {
  const kinds: [string, Partial<ArtifactOptions>][] = [
    [
      'a Helm chart',
      {
        config: blob('application/vnd.cncf.helm.config.v1+json', '{}'),
        layers: [blob('application/vnd.cncf.helm.chart.content.v1.tar+gzip')],
      },
    ],
    [
      'a model of ModelPack',
      {
        artifactType: 'application/vnd.cncf.model.manifest.v1+json',
        config: blob('application/vnd.cncf.model.config.v1+json', '{}'),
        layers: [blob('application/vnd.cncf.model.weight.v1.raw')],
      },
    ],
    [
      'a zstd layer',
      { config: blob(MEDIA_TYPES.ociConfig, '{}'), layers: [blob('application/vnd.oci.image.layer.v1.tar+zstd')] },
    ],
    ['an artifact with the empty config', { artifactType: 'application/x' }],
    ['an artifact without layers', { layers: [] }],
    ['an empty layer', { layers: [blob('application/x', '')] }],
    ['digests by sha512', { algorithm: 'sha512' }],
  ];

  it.each(kinds)('%s', async (_, options) => {
    await withCopyWorld({}, async (world) => {
      const image = buildArtifact({ seed: 1, ...options });
      world.source.put(repository, image, 'v1');

      await world.run(order);
      await world.run({ source: order.source, target: 'oci:layout' });
      await world.run({ source: 'oci:layout', target: `ZONE/again:v1` });

      expect(missing(world, image)).toEqual([]);
      expect(world.zone.manifest('again', image.digest)).toBeDefined();
      const again = await world.run(order);
      expect(again.items[0]).toMatchObject({ digest: image.digest, bytes: 0 });
      expect(world.zone.server.count(/^PUT .*team.*manifests\/v1/)).toBe(1);
    });
  });

  it.each([true, false])('an index by sha512 with a referrer (referrers API: %s)', async (referrers) => {
    await withCopyWorld({ zone: { referrers } }, async (world) => {
      const child = buildImage({ seed: 1, algorithm: 'sha512' });
      const index = buildIndex({ children: [child], algorithm: 'sha512' });
      const sbom = buildArtifact({ seed: 2, subject: descriptorOf(index), algorithm: 'sha512' });
      world.source.put(repository, index, 'v1');
      world.source.put(repository, sbom);

      await world.run(order);

      expect(missing(world, index)).toEqual([]);
      expect(world.zone.manifest(repository, sbom.digest)).toBeDefined();
      const cut = `sha512-${index.digest.slice(7, 71)}`;
      expect(world.zone.tags(repository)).toEqual(referrers ? ['v1'] : [cut, 'v1']);
    });
  });
});

describe('a manifest by sha512', () => {
  it('is told as what the target does not take, where that knows sha256 alone, and not as damage', async () => {
    await withCopyWorld({ zone: { sha256Only: true } }, async (world) => {
      const image = buildArtifact({ seed: 1, algorithm: 'sha512' });
      world.source.put(repository, image, 'v1');

      const error = await failureOf(world.run({ source: `SOURCE/${repository}@${image.digest}`, target: 'ZONE/app' }));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(error.message).toContain('sha512');
      expect(error.hint).toContain('oci:DIR');
    });
  });
});

describe('bytes that a descriptor carries itself', () => {
  const carrying = (data: string): BuiltImage =>
    edited(buildArtifact({ seed: 1 }), (document) => Object.assign(document['config'] as object, { data }));

  it('are used instead of a fetch', async () => {
    await withCopyWorld({}, async (world) => {
      const image = carrying(Buffer.from('{}').toString('base64'));
      const [config = ''] = image.blobs.keys();
      world.source.put(repository, image, 'v1');

      await world.run(order);

      expect(missing(world, image)).toEqual([]);
      expect(world.source.server.count(new RegExp(config))).toBe(0);
    });
  });

  it.each(['W10=', 'e30K', '!', ''])('are not believed when they are others: %j', async (data) => {
    await withCopyWorld({}, async (world) => {
      const image = carrying(data);
      const [config = ''] = image.blobs.keys();
      world.source.put(repository, image, 'v1');

      await world.run(order);

      expect(missing(world, image)).toEqual([]);
      expect(world.source.server.count(new RegExp(`GET .*${config}`))).toBe(1);
    });
  });

  it('may be a manifest', async () => {
    await withCopyWorld({}, async (world) => {
      const child = buildImage({ seed: 1 });
      const index = edited(buildIndex({ children: [child] }), (document) =>
        Object.assign((document['manifests'] as object[])[0] ?? {}, {
          data: Buffer.from(child.bytes).toString('base64'),
        }),
      );
      world.source.put(repository, index, 'v1');

      await world.run(order);

      expect(missing(world, index)).toEqual([]);
      expect(world.source.server.count(new RegExp(child.digest))).toBe(1);
    });
  });
});

describe('a child of an index whose type nobody knows', () => {
  const unknownType = 'application/vnd.example.manifest.v9+json';
  const unknown = (): BuiltImage =>
    edited(
      buildArtifact({ seed: 'unknown' }),
      (document) => Object.assign(document, { mediaType: unknownType }),
      unknownType,
    );

  it('is fetched as a manifest, by its own type, with what it leads to', async () => {
    await withCopyWorld({}, async ({ source, directory, run }) => {
      const child = unknown();
      source.put(repository, buildIndex({ children: [child, buildImage({ seed: 1 })] }), 'v1');

      await run({ source: order.source, target: 'oci:layout' });

      for (const [digest, bytes] of [[child.digest, child.bytes] as const, ...child.blobs])
        expect(await readFile(join(directory, 'layout/blobs/sha256', digest.slice(7)))).toEqual(Buffer.from(bytes));
    });
  });

  it.each(['SOURCE/team/app:v1', 'oci:layout'])(
    'is pushed as a manifest, from %s, and what the registry says comes out',
    async (from) => {
      await withCopyWorld({}, async ({ source, zone, run }) => {
        const child = unknown();
        source.put(repository, buildIndex({ children: [child] }), 'v1');
        await run({ source: order.source, target: 'oci:layout' });

        const error = await failureOf(run({ source: from, target: order.target, referrers: false }));

        expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
        const puts = zone.server.requests.filter(
          ({ path }) => path.endsWith(child.digest) && path.includes('/manifests/'),
        );
        expect(puts.map(({ method, headers }) => [method, headers['content-type']])).toContainEqual([
          'PUT',
          unknownType,
        ]);
      });
    },
  );

  it('is a blob where the source has it as one', async () => {
    await withCopyWorld({}, async (world) => {
      const bytes = Buffer.from('no manifest at all');
      const digest = digestOf(bytes);
      const index = edited(buildIndex({ children: [buildImage({ seed: 1 })] }), (document) =>
        (document['manifests'] as object[]).push({ mediaType: 'application/x', digest, size: bytes.length }),
      );
      index.blobs.set(digest, bytes);
      world.source.put(repository, index, 'v1');

      await world.run(order);
      await world.run({ source: order.source, target: 'oci:layout' });
      await world.run({ source: 'oci:layout', target: order.target });

      expect(missing(world, index)).toEqual([]);
    });
  });
});

describe('foreign layers', () => {
  const bytes = seededBytes('windows', 5000);
  const digest = digestOf(bytes);
  const foreign = (urls: string[]): BuiltImage => {
    const image = edited(buildArtifact({ seed: 1 }), (document) =>
      (document['layers'] as object[]).push({
        mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
        digest,
        size: bytes.length,
        urls,
      }),
    );
    return image;
  };

  it('are carried as they are, and counted', async () => {
    await withCopyWorld({}, async (world) => {
      const image = foreign(['https://owner.invalid/layer']);
      world.source.put(repository, image, 'v1');

      const report = await world.run(order);

      expect(missing(world, image)).toEqual([]);
      expect(world.zone.blob(repository, digest)).toBeUndefined();
      expect(report.items[0]?.detail).toMatchObject({ foreign: { count: 1, bytes: bytes.length } });
    });
  });

  it('are fetched from the registry that has them when they are asked for, even where the image is already', async () => {
    await withCopyWorld({}, async (world) => {
      const image = foreign(['https://owner.invalid/layer']);
      world.source.put(repository, { ...image, blobs: new Map([...image.blobs, [digest, bytes]]) }, 'v1');
      await world.run(order);

      const report = await world.run({ ...order, includeForeign: true, referrers: false });

      expect(Buffer.from(world.zone.blob(repository, digest) ?? [])).toEqual(Buffer.from(bytes));
      expect(report.items[0]).toMatchObject({ state: 'done', bytes: bytes.length });
      expect(report.items[0]?.detail).not.toHaveProperty('foreign');
    });
  });

  it('are fetched from their owner otherwise, by the address that works, without credentials', async () => {
    await withCopyWorld({}, async (world) => {
      const layer = buildArtifact({ seed: 2, layers: [{ mediaType: 'application/x', bytes }] });
      world.zone.put('owner/layers', layer);
      const at = `http://${world.zone.host}/v2/owner/layers/blobs`;
      world.source.put(repository, foreign([`${at}/${digestOf(Buffer.from('gone'))}`, `${at}/${digest}`]), 'v1');

      await world.run({ ...order, includeForeign: true });

      expect(Buffer.from(world.zone.blob(repository, digest) ?? [])).toEqual(Buffer.from(bytes));
      const asked = world.zone.server.requests.filter(({ path }) => path.includes('owner/layers'));
      expect(asked.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined, undefined]);
    });
  });

  it.each([
    ['by plain HTTP', 'http://owner.invalid/layer'],
    ['from a file', 'file:///etc/passwd'],
    ['from a link-local address', 'https://169.254.169.254/latest'],
    ['with a password', 'https://user:password@owner.invalid/layer'],
    ['from no address', 'owner'],
  ])('are not fetched %s', async (_, url) => {
    await withCopyWorld({}, async (world) => {
      world.source.put(repository, foreign([url]), 'v1');

      const error = await failureOf(world.run({ ...order, includeForeign: true }));

      expect([error.code, error.at.side]).toEqual(['E_PROTOCOL', 'source']);
      expect(error.hint).toContain('--include-foreign');
      expect(error.message).not.toContain('password@');
      expect(world.zone.tags(repository)).toEqual([]);
    });
  });

  it.each([
    ['3.1', '"invalid URL on layer"'],
    ['2.8', '{}'],
  ])('are told as what the target does not take, where it speaks as distribution %s', async (_, detail) => {
    await withCopyWorld({}, async (world) => {
      world.source.put(repository, foreign(['https://owner.invalid/layer']), 'v1');
      const unknown = '{"code":"UNKNOWN","message":"unknown error"}';
      const body = `{"errors":[${unknown},{"code":"UNKNOWN","message":"unknown error","detail":${detail}}]}`;
      world.zone.server.faults = ({ method, path }) =>
        method === 'PUT' && path.includes('/manifests/') ? { kind: 'status', status: 500, body } : undefined;

      const error = await failureOf(world.run(order));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(error.hint).toContain('urls');
    });
  });

  it('are not blamed for a tag that may not be moved', async () => {
    await withCopyWorld({ zone: { immutableTags: 409 } }, async (world) => {
      const other = buildArtifact({ seed: 2 });
      world.source.put(repository, foreign(['https://owner.invalid/layer']), 'v1');
      world.zone.put(repository, other, 'v1');

      const error = await failureOf(world.run(order));

      expect(error.code).toBe('E_REFUSED');
      expect(error.message).toContain(other.digest);
      expect(error.message).not.toContain('foreign');
    });
  });

  it('that are not what their digest says are refused', async () => {
    await withCopyWorld({}, async (world) => {
      const other = seededBytes('evil', bytes.length);
      world.zone.put(
        'owner/layers',
        buildArtifact({ seed: 2, layers: [{ mediaType: 'application/x', bytes: other }] }),
      );
      world.source.put(
        repository,
        foreign([`http://${world.zone.host}/v2/owner/layers/blobs/${digestOf(other)}`]),
        'v1',
      );

      const error = await failureOf(world.run({ ...order, includeForeign: true }));

      expect([error.code, error.at.side]).toEqual(['E_DIGEST_MISMATCH', 'source']);
      expect(world.zone.blob(repository, digest)).toBeUndefined();
    });
  });
});
