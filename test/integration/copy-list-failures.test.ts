import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Report } from '../../src/core/report.ts';
import { type CopyWorld, withCopyWorld } from '../support/copy-command.ts';
import { buildArtifact, buildImage, type BuiltImage, descriptorOf } from '../support/images.ts';

const image = (seed: string): BuiltImage => buildImage({ seed, layers: 1 });
const layerOf = (built: BuiltImage): string => [...built.blobs.keys()].at(-1) ?? '';

/** Puts an image under `app:TAG` for each tag, and copies them by a list; the tag of a line may be followed by its target. */
async function copyList(world: CopyWorld, lines: readonly string[], target?: string): Promise<Report> {
  const list = lines.map((line) => `${world.source.host}/app:${line.replace('ZONE', world.zone.host)}\n`);
  await writeFile(join(world.directory, 'images.txt'), list.join(''));
  return world.run({ fromFile: 'images.txt', target: target ?? 'ZONE/below' });
}

describe('an error in the middle of a list', () => {
  it.each<[string, 'source' | 'target', string, (world: CopyWorld) => void]>([
    [
      'bytes that are not what their digest says',
      'source',
      'E_DIGEST_MISMATCH',
      ({ source }) => {
        source.server.faults = ({ path }) =>
          path.endsWith(layerOf(image('bad'))) ? { kind: 'flip', at: 5 } : undefined;
      },
    ],
    ['a layer that is gone', 'source', 'E_NOT_FOUND', ({ source }) => source.remove('app', layerOf(image('bad')))],
    [
      'a layer that is not given',
      'source',
      'E_REMOTE',
      ({ source }) => {
        source.server.faults = ({ path }) =>
          path.endsWith(layerOf(image('bad'))) ? { kind: 'status', status: 500 } : undefined;
      },
    ],
    [
      'a manifest that is not taken',
      'target',
      'E_REFUSED',
      ({ zone }) => {
        const body = '{"errors":[{"code":"MANIFEST_INVALID"}]}';
        zone.server.faults = ({ method, path }) =>
          method === 'PUT' && path.endsWith('/manifests/bad') ? { kind: 'status', status: 400, body } : undefined;
      },
    ],
  ])('names the image and the side, and stops no other: %s', async (_, side, code, damage) => {
    await withCopyWorld({}, async (world) => {
      for (const tag of ['one', 'bad', 'two']) world.source.put('app', image(tag), tag);
      damage(world);

      const report = await copyList(world, ['one here/app', 'bad here/app', 'two here/app'], 'ZONE');

      expect(report.items.map(({ kind, state }) => `${kind} ${state}`)).toEqual([
        'image done',
        'image failed',
        'image done',
      ]);
      const [, failed] = report.items;
      const hosts = { source: `${world.source.host}/app:bad`, target: `${world.zone.host}/here/app` };
      expect(failed?.name).toBe(hosts.source);
      expect(failed?.error).toMatchObject({ code, at: { side, item: expect.stringContaining(hosts[side]) } });
      expect(failed?.error?.message).not.toContain(side === 'source' ? world.zone.host : world.source.host);
      expect(report.exit).toBe(code === 'E_DIGEST_MISMATCH' ? 4 : 3);
      expect(report.totals['images']).toBe(3);
      expect(report.summary.at(-1)).toContain('2 images of 3 at the target');
      expect(report.summary.at(-1)).toContain('1 FAILED');
    });
  });

  it('is an image that is not the one of the digest which its target names, and the others go over', async () => {
    await withCopyWorld({}, async (world) => {
      for (const tag of ['one', 'two']) world.source.put('app', image(tag), tag);

      const report = await copyList(world, [`one here/app:one@${image('two').digest}`, 'two here/app:two'], 'ZONE');

      expect(report.exit).toBe(3);
      expect(report.items[0]).toMatchObject({
        state: 'failed',
        error: {
          code: 'E_USAGE',
          at: { side: 'target', item: `${world.zone.host}/here/app:one@${image('two').digest}` },
        },
      });
      expect(world.zone.tags('here/app')).toEqual(['two']);
    });
  });

  it('leaves nothing out of the report of many images: each is an item, and what each lacks is one', async () => {
    await withCopyWorld({}, async (world) => {
      const tags = Array.from({ length: 40 }, (_, index) => `t${index}`);
      for (const tag of tags) world.source.put('app', image(tag), tag);
      const sbom = buildArtifact({ seed: 'sbom', subject: descriptorOf(image('t7')) });
      world.source.put('app', sbom);
      world.source.remove('app', layerOf(sbom));
      for (const tag of ['t3', 't20', 't39']) world.source.remove('app', layerOf(image(tag)));

      const report = await copyList(world, [...tags, 'none']);

      const named = (state: string): string[] =>
        report.items
          .filter((item) => item.state === state)
          .map(({ kind, name }) => `${kind} ${name.split(':').at(-1)}`);
      expect(named('failed')).toEqual(['image t3', 'referrers t7', 'image t20', 'image t39', 'image none']);
      expect(named('done')).toHaveLength(37);
      expect(report.exit).toBe(3);
      expect(report.totals['images']).toBe(41);
      expect(report.summary.at(-1)).toMatch(/^37 images of 41 .*1 INCOMPLETE.*4 FAILED/);
      expect(world.zone.tags(`below/${world.source.host.replace(':', '-')}/app`)).toHaveLength(37);
    });
  });
});

describe('a place on a disk that was damaged', () => {
  it('is not to be pushed again somewhere, but to be copied', async () => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image('one'), 'v1');
      await world.run({ source: 'SOURCE/app:v1', target: 'oci:layout:v1' });
      const blob = join(world.directory, 'layout/blobs', layerOf(image('one')).replace(':', '/'));
      await rm(blob);
      await writeFile(blob, Buffer.alloc(image('one').blobs.get(layerOf(image('one')))?.length ?? 0));

      await writeFile(join(world.directory, 'images.txt'), 'oci:layout:v1\n');
      const report = await world.run({ fromFile: 'images.txt', target: 'ZONE/below' });

      expect(report.items[0]?.error).toMatchObject({
        code: 'E_DIGEST_MISMATCH',
        at: { side: 'source', item: 'oci:layout:v1' },
        hint: expect.stringContaining('copy it again'),
      });
    });
  });
});
