import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { codeOf } from '../support/failures.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';

let zone: MadeBundle;
const files = { 'model.bin': Buffer.alloc(60_000, 'weights'), 'sub/config.json': Buffer.from('{}') };

beforeEach(async () => {
  zone = await makeBundle({ 'org/name': files });
});

afterEach(() => zone[Symbol.asyncDispose]());

const keysBelow = (prefix: string): string[] =>
  [...zone.s3.objects.keys()]
    .filter((key) => key.startsWith(`models/${prefix}/`) && !key.includes('.sie-mirror'))
    .map((key) => key.slice(`models/${prefix}/`.length))
    .sort();

it('are for SIE when nothing is said, below the release when there is one', async () => {
  const report = await zone.bring({ models: 's3://models/sie/', release: '2026-11' });

  const commit = zone.commits['org/name'];
  const expected = [
    'refs/main',
    `snapshots/${commit}/model.bin`,
    `snapshots/${commit}/sub/config.json`,
    `trees/${commit}.json`,
  ];
  expect(keysBelow('sie/2026-11/models')).toEqual(expected.map((key) => `models--org--name/${key}`));
  expect(report.summary.join('\n')).toContain('clusterCache.url at s3://models/sie/2026-11/models');
  expect(await codeOf(zone.bring({ models: 's3://models/sie', release: '../x' }))).toBe('E_USAGE');
});

it('name a directory to workers by its path alone, as they take no other', async () => {
  const directory = join(zone.path, 'models');
  const report = await zone.bring({ models: `file://${directory}` });

  expect(report.summary.join('\n')).toContain(`clusterCache.url at ${directory} and`);
});

it('hold the blobs of a cache too when they are full', async () => {
  await zone.bring({ models: 's3://models/a', layout: 'full' });

  const blobs = keysBelow('a').filter((key) => key.startsWith('models--org--name/blobs/'));
  expect(blobs).toHaveLength(2);
  expect(keysBelow('a').filter((key) => key.includes('/snapshots/'))).toHaveLength(2);
});

it('are files and nothing else when they are plain, and again with nothing changed too', async () => {
  const report = await zone.bring({ models: 's3://models/a', layout: 'plain' });

  expect(keysBelow('a')).toEqual(['org/name/model.bin', 'org/name/sub/config.json']);
  expect(report.summary.join('\n')).not.toContain('clusterCache');
  expect((await zone.bring({ models: 's3://models/a', layout: 'plain' })).items[0]?.state).toBe('present');
});

it('are only planned by a dry run, which writes nothing', async () => {
  const plan = await zone.bring({ models: 's3://models/a', dryRun: true });

  expect(plan.items.map(({ name, state }) => [name.split('@')[0], state])).toEqual([['org/name', 'planned']]);
  expect(plan.totals['bytes']).toBeGreaterThan(60_000);
  expect(zone.requests().filter((request) => !request.startsWith('GET '))).toEqual([]);
  await zone.bring({ models: 's3://models/a' });
  expect((await zone.bring({ models: 's3://models/a', dryRun: true })).items[0]?.state).toBe('present');
});
