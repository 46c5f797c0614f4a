import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseShard } from '../../src/commands/import/shard.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';
import { filesBelow } from '../support/place.ts';

const models = 's3://models/m';
const files = (seed: string): Record<string, Buffer> =>
  Object.fromEntries(
    Array.from({ length: 7 }, (_, index) => [`${seed}-${index}.bin`, Buffer.alloc(3000 * index, seed)]),
  );
let zone: MadeBundle;
/** Keys of an import by one machine. */
let whole: string[];

const keys = (): string[] => [...zone.s3.objects.keys()].toSorted((a, b) => (a < b ? -1 : 1));
const puts = (requests: readonly string[]): string[] =>
  requests.filter((request) => request.startsWith('PUT ') && !request.includes('/.sie-mirror/'));

beforeAll(async () => {
  zone = await makeBundle({ 'org/one': files('a'), 'org/two': files('b') });
  await zone.bring({ models });
  whole = keys();
});

afterAll(() => zone[Symbol.asyncDispose]());

beforeEach(() => {
  zone.s3.objects.clear();
  zone.requests();
});

it.each([1, 2, 3, 40])('is the same by %d machines as by one, no object twice, visible at the end only', async (of) => {
  const shards = Array.from({ length: of }, (_, index) => `${index}/${of}`);
  await Promise.all(shards.map((shard) => zone.bring({ models, shard, receipt: `r-${shard.replace('/', '-')}.json` })));
  const brought = puts(zone.requests());

  expect(new Set(brought).size).toBe(brought.length);
  expect(keys().filter((key) => /\/(?:refs|trees)\//.test(key))).toEqual([]);
  const report = await zone.bring({ models, finish: true });

  expect([report.ok, report.items.map(({ state }) => state)]).toEqual([true, ['done', 'done']]);
  expect(puts(zone.requests()).filter((request) => !/\/(?:refs|trees)\//.test(request))).toEqual([]);
  expect(keys()).toEqual(whole);
  await zone.bring({ models });
  expect(puts(zone.requests())).toEqual([]);
});

it('gives each machine about as much as the others', async () => {
  const moved: number[] = [];
  for (const shard of ['0/3', '1/3', '2/3']) moved.push((await zone.bring({ models, shard })).totals['bytes'] ?? 0);

  expect(Math.max(...moved)).toBeLessThan(1.5 * Math.min(...moved));
});

it('asks the store for no object by itself at the end', async () => {
  for (const shard of ['0/2', '1/2']) await zone.bring({ models, shard });
  zone.requests();

  await zone.bring({ models, finish: true });

  expect(
    zone.requests().filter((request) => request.startsWith('HEAD ') && !request.includes('.receipt.json')),
  ).toEqual([]);
});

it('names the shards that are not done, and makes nothing visible', async () => {
  expect(await codeOf(zone.bring({ models, finish: true }))).toBe('E_INCOMPLETE');
  await zone.bring({ models, shard: '0/3' });
  zone.s3.server.faults = ({ method, path }) =>
    method === 'PUT' && path.includes('.bin') ? { kind: 'status', status: 403 } : undefined;
  expect((await zone.bring({ models, shard: '1/3' })).ok).toBe(false);
  zone.s3.server.faults = undefined;

  const error = await failureOf(zone.bring({ models, finish: true }));

  expect([error.code, error.exit]).toEqual(['E_INCOMPLETE', 3]);
  expect([error.message.includes('`1/3`, `2/3`'), error.message.includes('0/3')]).toEqual([true, false]);
  expect(keys().filter((key) => /\/(?:refs|trees)\//.test(key))).toEqual([]);
  for (const shard of ['1/3', '2/3']) await zone.bring({ models, shard });
  expect((await zone.bring({ models, finish: true })).ok).toBe(true);
});

it('brings what has vanished since its shard was done', async () => {
  for (const shard of ['0/2', '1/2']) await zone.bring({ models, shard });
  const [gone = ''] = keys().filter((key) => key.endsWith('a-3.bin'));
  zone.s3.objects.delete(gone);

  expect((await zone.bring({ models, finish: true })).ok).toBe(true);

  expect(keys()).toEqual(whole);
});

it('takes one directory for all machines, and writes a receipt of the whole', async () => {
  const url = 'file:shared';
  await Promise.all(['0/2', '1/2'].map((shard) => zone.bring({ models: url, shard })));

  await zone.bring({ models: url, finish: true });

  const there = (await filesBelow(join(zone.path, 'shared'))).filter((path) => !path.endsWith('.lock'));
  expect(there.map((path) => `models/m/${path}`)).toEqual(whole);
  const receipt = JSON.parse(await readFile(join(zone.path, 'b.receipt.json'), 'utf8')) as { complete: boolean };
  expect(receipt).toMatchObject({ complete: true });
  expect(receipt).not.toHaveProperty('shard');
});

it('plans the share of one machine', async () => {
  const report = await zone.bring({ models, shard: '0/2', dryRun: true });

  const all = (await zone.bring({ models, dryRun: true })).totals['bytes'] ?? 0;
  expect(report.totals['bytes']).toBeLessThan(0.7 * all);
  expect(keys()).toEqual([]);
});

it('takes the index from JOB_COMPLETION_INDEX, and refuses what is no share', async () => {
  expect(parseShard('3/4', {})).toEqual({ index: 3, of: 4 });
  expect(parseShard('4', { JOB_COMPLETION_INDEX: '0' })).toEqual({ index: 0, of: 4 });
  expect(parseShard('1/4', { JOB_COMPLETION_INDEX: '3' })).toEqual({ index: 1, of: 4 });
  for (const [text, index] of [['4/4'], ['4'], ['4', '4'], ['4', 'x'], ['0/0'], ['-1/4'], ['1/2/3'], ['']] as const)
    expect(await codeOf(Promise.resolve().then(() => parseShard(text, { JOB_COMPLETION_INDEX: index })))).toBe(
      'E_USAGE',
    );
  expect(await codeOf(zone.bring({ models, shard: '0/2', finish: true }))).toBe('E_USAGE');
});
