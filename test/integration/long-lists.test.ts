import { expect, it } from 'vitest';
import type { Report } from '../../src/core/report.ts';
import { withCopyWorld } from '../support/copy-command.ts';
import { failureOf } from '../support/failures.ts';
import { buildArtifact, buildImage, type BuiltImage, descriptorOf } from '../support/images.ts';

/** Sources that have more to tell than one expects. */

const image = buildImage({ seed: 'image' });

/** Each refers to the one before. */
function chain(length: number): BuiltImage[] {
  const links: BuiltImage[] = [];
  for (let link = 0; link < length; link += 1)
    links.push(
      buildArtifact({ seed: link, artifactType: 'application/x', subject: descriptorOf(links.at(-1) ?? image) }),
    );
  return links;
}

const withChain = async (length: number, work: (copied: Promise<Report>) => Promise<void>): Promise<void> =>
  withCopyWorld({}, async (world) => {
    world.source.put('app', image, 'v1');
    for (const link of chain(length)) world.source.put('app', link);
    await work(world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' }));
  });

it('referrers of referrers come, as deep as anybody has them', async () => {
  await withChain(16, async (copied) => {
    expect(await copied).toMatchObject({ ok: true, items: [{ detail: { referrers: 16 } }] });
  });
});

it('referrers of referrers without end are refused', async () => {
  await withChain(17, async (copied) => {
    expect(await failureOf(copied)).toMatchObject({ code: 'E_CORRUPT', at: { side: 'source' } });
  });
});

it('a registry may list a hundred thousand tags at once, as old ones do', async () => {
  await withCopyWorld({}, async (world) => {
    world.source.put('app', image, 'v1');
    const tags = Array.from({ length: 100_000 }, (_, number) => `build-${'0'.repeat(40)}-${number}`);
    world.source.server.faults = ({ path }) =>
      path.includes('/tags/list') ? { kind: 'status', status: 200, body: JSON.stringify({ tags }) } : undefined;

    expect((await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' })).ok).toBe(true);
  });
});
