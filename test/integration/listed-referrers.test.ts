import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { asked, type CopyWorld, withCopyWorld } from '../support/copy-command.ts';
import { failureOf } from '../support/failures.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
  fallbackTag,
  multiArch,
} from '../support/images.ts';

const image = multiArch('signed');
const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(image) });
const deleted = buildArtifact({ seed: 'deleted', artifactType: 'application/x.old', subject: descriptorOf(image) });
const signature = cosignSignature(image);
const withoutApi = { referrers: false } as const;

/** The image, and the list of what refers to it. */
function seed({ source }: CopyWorld, listed: Parameters<typeof buildIndex>[0]['children']): void {
  source.put('app', image, 'v1');
  source.put('app', buildIndex({ children: listed }), fallbackTag(image.digest));
}

/** The last layer of an image. */
const layerOf = (built: BuiltImage): string => [...built.blobs.keys()].at(-1) ?? '';

describe('a referrer that a source lists and does not have', () => {
  it('is named when all else is there, as an incomplete copy', async () => {
    await withCopyWorld({ source: withoutApi }, async (world) => {
      seed(world, [sbom, deleted]);
      world.source.remove('app', deleted.digest);

      const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

      expect([report.ok, report.exit]).toEqual([false, 3]);
      expect(report.items).toMatchObject([
        { kind: 'image', state: 'done', detail: { referrers: 1 } },
        {
          kind: 'referrers',
          state: 'failed',
          detail: { names: [deleted.digest] },
          error: { code: 'E_NOT_FOUND', at: { side: 'source', item: `${world.source.host}/app:v1` } },
        },
      ]);
      expect(report.items[1]?.error?.message).toContain(deleted.digest);
      expect(report.items[1]?.error?.hint).toContain('--no-referrers');
      expect(report.summary.at(-1)).toContain('INCOMPLETE');
      expect(world.zone.manifest('app', 'v1')?.digest).toBe(image.digest);
      expect(world.zone.manifest('app', sbom.digest)).toBeDefined();
    });
  });

  it('is told before anything moves by --dry-run', async () => {
    await withCopyWorld({ source: withoutApi }, async (world) => {
      seed(world, [deleted]);
      world.source.remove('app', deleted.digest);

      const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app', dryRun: true });

      expect(report.exit).toBe(3);
      expect(report.items.map(({ kind, state }) => `${kind} ${state}`)).toEqual(['image planned', 'referrers failed']);
      expect(report.items[1]?.error?.message).toContain(deleted.digest);
    });
  });
});

describe('what belongs to an image and is not whole at its source', () => {
  const child = buildImage({ seed: 'child of a referrer' });
  const indexed = buildIndex({ children: [child], subject: descriptorOf(image) });

  it.each<[string, (world: CopyWorld) => void, string, string]>([
    [
      'a referrer without its layer',
      ({ source }) => {
        source.put('app', deleted);
        source.remove('app', layerOf(deleted));
      },
      deleted.digest,
      layerOf(deleted),
    ],
    [
      'a referrer without one of its manifests',
      ({ source }) => {
        source.put('app', indexed);
        source.remove('app', child.digest);
      },
      indexed.digest,
      child.digest,
    ],
    [
      'a signature without its layer',
      ({ source }) => {
        source.put('app', signature, cosignTag(image.digest));
        source.remove('app', layerOf(signature));
      },
      cosignTag(image.digest),
      layerOf(signature),
    ],
    [
      'a tag of a signature that is gone',
      ({ source }) => {
        source.put('app', signature, cosignTag(image.digest));
        source.remove('app', signature.digest);
      },
      cosignTag(image.digest),
      cosignTag(image.digest),
    ],
  ])('does not keep the image back, nor the rest, and is named: %s', async (_, lose, name, part) => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      lose(world);
      world.source.put('app', sbom);

      for (const state of ['done', 'present']) {
        const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

        expect(report.exit).toBe(3);
        expect(report.items.map((item) => `${item.kind} ${item.state}`)).toEqual([
          `image ${state}`,
          'referrers failed',
        ]);
        expect(report.items[0]?.detail).toMatchObject({ referrers: 1 });
        expect(report.items[1]).toMatchObject({
          detail: { names: [name] },
          error: { code: 'E_NOT_FOUND', at: { side: 'source' } },
        });
        expect(report.items[1]?.error?.message).toContain(part);
      }
      expect(world.zone.manifest('app', 'v1')?.digest).toBe(image.digest);
      expect(world.zone.manifest('app', sbom.digest)).toBeDefined();
      expect(world.zone.tags('app')).toEqual(['v1']);
      for (const lost of [deleted, indexed, signature]) expect(world.zone.manifest('app', lost.digest)).toBeUndefined();
    });
  });

  it('is told of the one image of a list that it belongs to', async () => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', multiArch('plain'), 'v2');
      world.source.put('app', deleted);
      world.source.remove('app', layerOf(deleted));

      const report = await world.run({ source: 'SOURCE/app', target: 'ZONE/app', allTags: true });

      expect(report.items.map(({ kind, state, name }) => `${kind} ${state} ${name.split(':').at(-1)}`)).toEqual([
        'image done v1',
        'referrers failed v1',
        'image done v2',
      ]);
      expect(report.totals['images']).toBe(2);
      expect(report.summary.at(-1)).toContain('2 images of 2 at the target');
      expect(report.summary.at(-1)).toContain('1 INCOMPLETE');
      expect(report.items[1]?.error?.at.item).toBe(`${world.source.host}/app:v1`);
    });
  });

  it('does not keep it back on the way into a layout and out of it either', async () => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', sbom);
      world.source.put('app', deleted);
      world.source.remove('app', layerOf(deleted));

      const into = await world.run({ source: 'SOURCE/app:v1', target: 'oci:layout:v1' });
      await rm(join(world.directory, 'layout/blobs', layerOf(sbom).replace(':', '/')));
      const out = await world.run({ source: 'oci:layout:v1', target: 'ZONE/app:v1' });

      expect([into, out].map(({ items }) => items[1]?.detail?.['names'])).toEqual([[deleted.digest], [sbom.digest]]);
      expect(world.zone.manifest('app', 'v1')?.digest).toBe(image.digest);
    });
  });
});

describe('what a source lists as a referrer, and refers to nothing', () => {
  it('is no part of the image, and said to be left out', async () => {
    await withCopyWorld({ source: withoutApi }, async (world) => {
      // oras leaves such a list where a registry resolves the tag to the subject.
      const children = [...image.manifests].filter(([digest]) => digest !== image.digest);
      const strays = children.map(([digest, manifest]) => ({ ...image, ...manifest, digest }));
      seed(world, [sbom, ...strays]);

      const first = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });
      const before = asked(world.zone).length;
      const again = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

      expect(first.items[0]).toMatchObject({ state: 'done', detail: { referrers: 1, strays: strays.length } });
      expect(first.summary.join('\n')).toContain('left out, as it does not refer to the image');
      expect(again.items[0]?.state).toBe('present');
      expect(
        asked(world.zone)
          .slice(before)
          .filter((each) => each.startsWith('P')),
      ).toEqual([]);
    });
  });
});

describe('a list of referrers', () => {
  it.each(['{"schemaVersion":2,"manifests":null}', '{"schemaVersion":2}'])('may be empty as %s', async (body) => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      const headers = { 'content-type': 'application/vnd.oci.image.index.v1+json' };
      world.source.server.faults = ({ path }) =>
        path.includes('/referrers/') ? { kind: 'status', status: 200, headers, body } : undefined;

      expect((await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' })).ok).toBe(true);
    });
  });

  it('is not what a server says that answers everything with a page: the tag is asked', async () => {
    await withCopyWorld({ source: withoutApi }, async (world) => {
      seed(world, [sbom]);
      world.source.server.faults = ({ path }) =>
        path.includes('/referrers/')
          ? { kind: 'status', status: 200, headers: { 'content-type': 'text/html' }, body: '<html></html>' }
          : undefined;

      const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

      expect(report.items[0]?.detail).toMatchObject({ referrers: 1 });
    });
  });

  it.each([400, 403, 404, 405, 501])(
    'is read behind the tag where the API for it is answered with %i',
    async (status) => {
      await withCopyWorld({ source: withoutApi, zone: withoutApi }, async (world) => {
        seed(world, [sbom]);
        for (const { server } of [world.source, world.zone])
          server.faults = ({ path }) => (path.includes('/referrers/') ? { kind: 'status', status } : undefined);

        const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

        expect(report.items[0]?.detail).toMatchObject({ referrers: 1 });
        expect(world.zone.tags('app')).toEqual([fallbackTag(image.digest), 'v1']);
      });
    },
  );

  it('that is no list is an error where it says to be one', async () => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      const headers = { 'content-type': 'application/vnd.oci.image.index.v1+json' };
      world.source.server.faults = ({ path }) =>
        path.includes('/referrers/') ? { kind: 'status', status: 200, headers, body: '[' } : undefined;

      const error = await failureOf(world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' }));

      expect([error.code, error.at.side]).toEqual(['E_PROTOCOL', 'source']);
    });
  });
});

describe('a source that answers with errors for what belongs to an image, and gives the image', () => {
  const attestation = buildArtifact({ seed: 'a', artifactType: 'application/x.a', subject: descriptorOf(image) });

  it.each<[string, (path: string) => boolean, string[], string, number]>([
    ['the list of referrers', (path) => path.includes('/referrers/'), [], image.digest, 1],
    ['a referrer', (path) => path.endsWith(sbom.digest), [sbom.digest], sbom.digest, 2],
    ['a layer of a referrer', (path) => path.endsWith(layerOf(sbom)), [sbom.digest], sbom.digest, 2],
    [
      'a signature behind its tag',
      (path) => path.endsWith(cosignTag(image.digest)),
      [cosignTag(image.digest)],
      cosignTag(image.digest),
      2,
    ],
    [
      'all that tells of signatures',
      (path) => path.includes('/tags/list') || path.endsWith('.sig'),
      [],
      image.digest,
      2,
    ],
  ])('gets the image over, and the copy is incomplete: %s', async (_, isBad, names, named, arrived) => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', signature, cosignTag(image.digest));
      for (const referrer of [sbom, attestation]) world.source.put('app', referrer);
      world.source.server.faults = ({ path }) => (isBad(path) ? { kind: 'status', status: 500 } : undefined);

      for (const state of ['done', 'present']) {
        const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

        expect(report.exit).toBe(3);
        expect(report.items).toMatchObject([
          { kind: 'image', state, detail: { referrers: arrived } },
          {
            kind: 'referrers',
            state: 'failed',
            detail: { names },
            error: { code: 'E_REMOTE', at: { side: 'source', item: `${world.source.host}/app:v1` } },
          },
        ]);
        expect(report.items[1]?.error?.message).toContain(named);
      }
      expect(world.zone.manifest('app', 'v1')?.digest).toBe(image.digest);
      expect(world.zone.manifest('app', attestation.digest) !== undefined).toBe(!isBad('/referrers/'));

      world.source.server.faults = undefined;
      const later = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });
      expect([later.ok, later.items[0]?.detail?.['referrers']]).toEqual([true, 3]);
    });
  });

  it('is told with the way past it, and before anything moves by --dry-run', async () => {
    await withCopyWorld({}, async (world) => {
      seed(world, [sbom]);
      world.source.server.faults = ({ path }) =>
        path.includes('/referrers/') ? { kind: 'status', status: 500 } : undefined;

      const planned = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app', dryRun: true });

      expect(planned.exit).toBe(3);
      expect(planned.items.map(({ kind, state }) => `${kind} ${state}`)).toEqual(['image planned', 'referrers failed']);
      expect(planned.items[1]?.error?.hint).toContain('--no-referrers');
      const without = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app', referrers: false });
      expect(without.ok).toBe(true);
    });
  });
});

describe('signatures that cosign named after a digest', () => {
  it.each([401, 403, 404, 405, 501, 504])(
    'come along where the source answers %i for its list of tags',
    async (status) => {
      await withCopyWorld({}, async (world) => {
        world.source.put('app', image, 'v1');
        world.source.put('app', signature, cosignTag(image.digest));
        world.source.server.faults = ({ path }) =>
          path.includes('/tags/list') ? { kind: 'status', status, body: '{}' } : undefined;

        const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

        expect(report.items[0]?.detail).toMatchObject({ referrers: 1 });
        expect(world.zone.tags('app')).toEqual([cosignTag(image.digest), 'v1']);
      });
    },
  );
});

describe('a layer that the source has lost', () => {
  it('is said to be lost, and not to be spelt wrongly', async () => {
    await withCopyWorld({}, async (world) => {
      const whole = buildImage({ seed: 'whole' });
      const layer = [...whole.blobs.keys()].at(-1) ?? '';
      world.source.put('app', whole, 'v1');
      world.source.remove('app', layer);

      const error = await failureOf(world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' }));

      expect([error.code, error.at.side]).toEqual(['E_NOT_FOUND', 'source']);
      expect(error.message).toContain(layer);
      expect(error.hint).not.toContain('spelling');
      expect(world.zone.tags('app')).toEqual([]);
    });
  });
});
