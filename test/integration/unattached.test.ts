import { describe, expect, it } from 'vitest';
import { withCopyWorld } from '../support/copy-command.ts';
import { codeOf } from '../support/failures.ts';
import { buildArtifact, cosignSignature, cosignTag, descriptorOf, fallbackTag, multiArch } from '../support/images.ts';

/** A target where referrers cannot be found: it has no API for them, and keeps the tag that stands in for it to itself. */
const zone = { referrers: false, digestTagIsSubject: true } as const;
const image = multiArch('signed');
const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(image) });
const signature = cosignSignature(image);

describe('referrers', () => {
  it.each([
    ['cannot list', zone, true],
    ['does not take', { refusesArtifacts: true }, false],
  ] as const)(
    'that a target %s do not keep the image back, nor what else belongs to it, and are named',
    async (_, options, arrives) => {
      await withCopyWorld({ zone: options }, async (world) => {
        world.source.put('app', image, 'v1');
        world.source.put('app', sbom);
        world.source.put('app', signature, cosignTag(image.digest));

        const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

        expect([report.ok, report.exit]).toEqual([false, 3]);
        expect(report.items).toMatchObject([
          { kind: 'image', state: 'done' },
          {
            kind: 'referrers',
            state: 'failed',
            detail: { names: [sbom.digest] },
            error: { code: 'E_REFUSED', at: { side: 'target', item: `${world.zone.host}/app:v1` } },
          },
        ]);
        expect(report.items[1]?.error?.message).toContain(sbom.digest);
        expect(world.zone.manifest('app', 'v1')?.digest).toBe(image.digest);
        expect(world.zone.tags('app')).toEqual([cosignTag(image.digest), 'v1']);
        expect(world.zone.manifest('app', sbom.digest) !== undefined).toBe(arrives);
      });
    },
  );

  const list = `/referrers/${image.digest}`;
  const listTag = `/manifests/${fallbackTag(image.digest)}`;
  const signatureTag = `/manifests/${cosignTag(image.digest)}`;
  it.each([
    ['the list of them is answered with 500', 'GET', list, 500, 'E_REMOTE', sbom.digest],
    ['the tag for the list of them is answered with 403', 'PUT', listTag, 403, 'E_AUTH', sbom.digest],
    ['the tag for the list of them is answered with 500', 'PUT', listTag, 500, 'E_REMOTE', sbom.digest],
    ['the tag of a signature is answered with 403', 'PUT', signatureTag, 403, 'E_AUTH', cosignTag(image.digest)],
    ['the tag of a signature is answered with 500', 'PUT', signatureTag, 500, 'E_REMOTE', cosignTag(image.digest)],
  ] as const)('do not keep the image back where %s', async (_, method, path, status, code, name) => {
    await withCopyWorld({ zone: { referrers: path === list } }, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', sbom);
      world.source.put('app', signature, cosignTag(image.digest));
      world.zone.server.faults = (request) =>
        request.method === method && request.path.endsWith(path) ? { kind: 'status', status } : undefined;

      const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

      expect(report.exit).toBe(3);
      expect(report.items).toMatchObject([
        { kind: 'image', state: 'done' },
        { kind: 'referrers', detail: { names: [name] }, error: { code, at: { side: 'target' } } },
      ]);
      expect(world.zone.manifest('app', 'v1')?.digest).toBe(image.digest);
    });
  });

  it('are no reason to say that the image is there when the target does not take it either', async () => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', sbom);
      world.zone.server.faults = ({ method, path }) =>
        path.endsWith(list) || (method === 'PUT' && path.endsWith('/manifests/v1'))
          ? { kind: 'status', status: 500 }
          : undefined;

      expect(await codeOf(world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' }))).toBe('E_REMOTE');
    });
  });

  it('behind a tag that may not be moved there do not keep the image back', async () => {
    await withCopyWorld({ zone: { immutableTags: 409 } }, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', signature, cosignTag(image.digest));
      world.zone.put('app', sbom, cosignTag(image.digest));

      const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

      expect(report.exit).toBe(3);
      expect(report.items[1]).toMatchObject({
        detail: { names: [cosignTag(image.digest)] },
        error: { code: 'E_REFUSED', at: { side: 'target' } },
      });
      expect(report.items[1]?.error?.message).toContain(sbom.digest);
      expect(world.zone.manifest('app', 'v1')?.digest).toBe(image.digest);
      expect(world.zone.manifest('app', cosignTag(image.digest))?.digest).toBe(sbom.digest);
    });
  });

  it('are left out when that is asked for', async () => {
    await withCopyWorld({ zone }, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', sbom);

      const report = await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app', referrers: false });

      expect(report.ok).toBe(true);
    });
  });

  it('make one image of a list incomplete, and no other', async () => {
    await withCopyWorld({ zone }, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.put('app', sbom);
      world.source.put('app', multiArch('plain'), 'v2');

      const report = await world.run({ source: 'SOURCE/app', target: 'ZONE/app', allTags: true });

      expect(report.items.map(({ kind, state }) => `${kind} ${state}`)).toEqual([
        'image done',
        'referrers failed',
        'image done',
      ]);
      expect(world.zone.tags('app')).toEqual(['v1', 'v2']);
    });
  });
});
