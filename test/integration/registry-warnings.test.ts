import { expect, it } from 'vitest';
import { withCopyWorld } from '../support/copy-command.ts';
import { buildImage } from '../support/images.ts';

it('what a registry warns of is told once, by whichever request it comes', async () => {
  await withCopyWorld({}, async (world) => {
    const image = buildImage({ seed: 'image' });
    world.source.put('app', image, 'v1');
    world.source.server.faults = ({ path }) =>
      path.includes('/tags/list') || path.includes('/referrers/')
        ? { kind: 'status', status: 404, headers: { warning: '299 - "closes on Friday"' }, body: '{}' }
        : undefined;

    await world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' });

    const told = world.events.filter(({ type }) => type === 'warning');
    expect(told).toEqual([{ type: 'warning', text: `\`${world.source.host}\` says: closes on Friday` }]);
  });
});
