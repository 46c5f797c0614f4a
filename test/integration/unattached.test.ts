import { describe, expect, it } from 'vitest';
import { withCopyWorld } from '../support/copy-command.ts';
import { buildArtifact, cosignSignature, cosignTag, descriptorOf, multiArch } from '../support/images.ts';

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
