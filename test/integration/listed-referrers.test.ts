import { describe, expect, it } from 'vitest';
import { asked, type CopyWorld, withCopyWorld } from '../support/copy-command.ts';
import { failureOf } from '../support/failures.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
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

describe('a referrer that a source lists and does not have', () => {
  it('is named when all else is there', async () => {
    await withCopyWorld({ source: withoutApi }, async (world) => {
      seed(world, [sbom, deleted]);
      world.source.remove('app', deleted.digest);

      const error = await failureOf(world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' }));

      expect([error.code, error.at.side]).toEqual(['E_NOT_FOUND', 'source']);
      expect(error.message).toContain(deleted.digest);
      expect(error.hint).toContain('--no-referrers');
      expect(world.zone.manifest('app', 'v1')?.digest).toBe(image.digest);
      expect(world.zone.manifest('app', sbom.digest)).toBeDefined();
    });
  });

  it('is told before anything moves by --dry-run', async () => {
    await withCopyWorld({ source: withoutApi }, async (world) => {
      seed(world, [deleted]);
      world.source.remove('app', deleted.digest);

      const error = await failureOf(world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app', dryRun: true }));

      expect(error.code).toBe('E_NOT_FOUND');
      expect(error.message).toContain(deleted.digest);
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

describe('signatures that cosign named after a digest', () => {
  it.each([401, 403, 404, 405])('come along where the source answers %i for its list of tags', async (status) => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', signature, cosignTag(image.digest));
      world.source.server.faults = ({ path }) =>
        path.includes('/tags/list') ? { kind: 'status', status, body: '{}' } : undefined;

      const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

      expect(report.items[0]?.detail).toMatchObject({ referrers: 1 });
      expect(world.zone.tags('app')).toEqual([cosignTag(image.digest), 'v1']);
    });
  });
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
