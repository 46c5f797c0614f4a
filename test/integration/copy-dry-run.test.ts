import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { asked, withCopyWorld } from '../support/copy-command.ts';
import { failureOf } from '../support/failures.ts';
import { buildArtifact, buildImage, buildIndex, type BuiltImage, descriptorOf } from '../support/images.ts';
import { filesBelow } from '../support/place.ts';

const repository = 'team/app';
const image = (seed: string): BuiltImage => buildImage({ seed, layers: 1 });
const writes = /^(?:POST|PUT|PATCH|DELETE) /;

describe('copy --dry-run', () => {
  const parts = ({ blobs, manifests }: BuiltImage): { count: number; bytes: number } => ({
    count: blobs.size + manifests.size,
    bytes: [...blobs.values(), ...[...manifests.values()].map(({ bytes }) => bytes)].reduce(
      (sum, { length }) => sum + length,
      0,
    ),
  });

  it('says what would move, and asks with HEAD and for manifests alone', async () => {
    await withCopyWorld({}, async ({ source, zone, directory, run }) => {
      const index = buildIndex({ children: [image('one'), image('two')] });
      source.put(repository, index, 'v1');
      zone.put(repository, image('one'));
      zone.put(repository, image('old'), 'v1');

      const report = await run({ source: `SOURCE/${repository}:v1`, target: `ZONE/${repository}:v1`, dryRun: true });

      const [whole, there] = [parts(index), parts(image('one'))];
      expect(report.items[0]).toMatchObject({
        state: 'planned',
        digest: index.digest,
        bytes: whole.bytes - there.bytes,
        detail: {
          move: { count: whole.count - there.count, bytes: whole.bytes - there.bytes },
          present: there,
          replaces: image('old').digest,
        },
      });
      const requests = [...asked(source), ...asked(zone)];
      expect(requests.filter((request) => writes.test(request) || /^GET .*\/blobs\//.test(request))).toEqual([]);
      expect(await filesBelow(directory)).toEqual([]);
    });
  });

  it('says what a copy then does, and that nothing would move after it', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const index = buildIndex({ children: [image('one'), image('two')] });
      source.put(repository, index, 'v1');
      source.put(repository, buildArtifact({ seed: 'sbom', subject: descriptorOf(index) }));
      zone.put(repository, image('two'));
      const order = { source: `SOURCE/${repository}:v1`, target: `ZONE/${repository}:v1` };

      const plan = await run({ ...order, dryRun: true });
      const done = await run(order);
      const again = await run({ ...order, dryRun: true });

      expect(done.items[0]?.detail).toMatchObject({
        copied: plan.totals['move'],
        copiedBytes: plan.totals['bytes'],
        present: plan.totals['present'],
      });
      expect(again.items[0]).toMatchObject({ state: 'present', bytes: 0 });
    });
  });

  it('counts a blob that several images share once in the total', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      for (const tag of ['a', 'b'])
        source.put(repository, buildIndex({ children: [image('shared'), image(tag)] }), tag);
      const order = { source: `SOURCE/${repository}`, target: 'ZONE/m', allTags: true };

      const plan = await run({ ...order, dryRun: true });
      expect(asked(zone).filter((request) => writes.test(request))).toEqual([]);
      const done = await run(order);

      const sum = plan.items.reduce((total, { bytes = 0 }) => total + bytes, 0);
      expect(plan.totals['bytes']).toBe(sum - parts(image('shared')).bytes);
      expect(done.totals['bytes']).toBe(plan.totals['bytes']);
    });
  });

  it('makes no layout, and looks at one without keeping others out', async () => {
    await withCopyWorld({}, async ({ source, directory, run }) => {
      source.put(repository, image('one'), 'v1');
      const order = { source: `SOURCE/${repository}:v1`, target: 'oci:layout' };

      const before = await run({ ...order, dryRun: true });
      expect(await filesBelow(directory)).toEqual([]);
      await run(order);
      await mkdir(join(directory, 'layout'), { recursive: true });
      await writeFile(join(directory, 'layout/.sie-mirror.lock'), JSON.stringify({ pid: 1, host: 'another' }));
      const after = await run({ ...order, dryRun: true });

      expect(before.totals['bytes']).toBe(parts(image('one')).bytes);
      expect(after.items[0]?.state).toBe('present');
    });
  });

  it('fails as the copy would for what is not there', async () => {
    await withCopyWorld({}, async ({ source, run }) => {
      source.put(repository, image('one'), 'v1');

      const order = { target: 'ZONE/m', dryRun: true };
      expect((await failureOf(run({ ...order, source: `SOURCE/${repository}:none` }))).code).toBe('E_NOT_FOUND');
      expect((await failureOf(run({ ...order, source: `SOURCE/${repository}:v1`, platforms: ['a/b'] }))).code).toBe(
        'E_NOT_FOUND',
      );
    });
  });
});
