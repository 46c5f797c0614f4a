import { readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';
import { startS3 } from '../support/s3.ts';

const weights = Buffer.alloc(60_000, 'weights');
let zone: MadeBundle;

beforeEach(async () => {
  zone = await makeBundle({ 'org/name': { 'model.bin': weights, 'config.json': Buffer.from('{}') } });
});

afterEach(() => zone[Symbol.asyncDispose]());

const models = 's3://models/sie/models';
const weightsKey = (): string => `models/sie/models/models--org--name/snapshots/${zone.commits['org/name']}/model.bin`;
const writes = (requests: readonly string[]): string[] =>
  requests.filter((request) => /^(?:PUT|POST|DELETE) /.test(request));

it('asks for no object that is not listed the first time, and for none at all the second time', async () => {
  await zone.bring({ models });
  expect(zone.requests().filter((request) => request.startsWith('HEAD '))).toEqual([]);

  const report = await zone.bring({ models });

  expect(report.items.map(({ state }) => state)).toEqual(['present']);
  const again = zone.requests();
  // One page holds them all.
  expect(again.filter((request) => request.includes('list-type=2'))).toHaveLength(1);
  expect(again.filter((request) => !request.includes('list-type=2')).map((request) => request.split('?')[0])).toEqual([
    'GET /models/sie/models/.sie-mirror/b.receipt.json',
  ]);
  expect(writes(again)).toEqual([]);
});

it('lists the folders of its models only where so much else is there that it may not end soon', async () => {
  const s3 = await startS3({ buckets: ['models'], accessKeyId: 'TESTACCESSKEY', secretAccessKey: 'test-secret' });
  await using made = await makeBundle({ 'org/name': { 'model.bin': weights } }, { s3 });
  await made.bring({ models });
  for (let index = 0; index < 1000; index += 1) s3.put('models', `sie/models/.others/${index}`, '');
  made.requests();

  const report = await made.bring({ models });

  expect(report.items.map(({ state }) => state)).toEqual(['present']);
  const listed = made.requests().flatMap((request) => /[?&]prefix=([^&]*)/.exec(request)?.[1] ?? []);
  expect(listed.map(decodeURIComponent)).toEqual([
    'sie/models/',
    'sie/models/.sie-mirror/',
    'sie/models/models--org--name/',
  ]);
  await s3.close();
});

it('knows objects again in a store that writes their ETags with quotes here and without them there', async () => {
  const s3 = await startS3({
    buckets: ['models'],
    bareTags: true,
    accessKeyId: 'TESTACCESSKEY',
    secretAccessKey: 'test-secret',
  });
  await using made = await makeBundle({ 'org/name': { 'model.bin': weights } }, { s3 });
  await made.bring({ models });
  made.requests();

  await made.bring({ models });

  expect(made.requests().filter((request) => !request.startsWith('GET '))).toEqual([]);
  await s3.close();
});

it('looks at an object that was written since, and brings it again when it is another one', async () => {
  await zone.bring({ models });
  zone.s3.put('models', weightsKey().slice('models/'.length), Buffer.alloc(60_000, 'others'));
  zone.requests();

  await zone.bring({ models });

  const requests = zone.requests();
  expect(requests.filter((request) => request.startsWith('HEAD ') && request.includes('model.bin'))).toHaveLength(1);
  expect(Buffer.from(zone.s3.objects.get(weightsKey())?.body ?? '').equals(weights)).toBe(true);
});

it.each([
  ['is gone', async () => Promise.resolve(zone.s3.objects.delete('models/sie/models/.sie-mirror/b.receipt.json'))],
  [
    'is something else',
    async () => Promise.resolve(zone.s3.put('models', 'sie/models/.sie-mirror/b.receipt.json', '{')),
  ],
])('believes what the store says of an object when the receipt %s, and writes it again', async (_, damage) => {
  await zone.bring({ models });
  await damage();
  zone.requests();

  expect((await zone.bring({ models })).items.map(({ state }) => state)).toEqual(['present']);

  expect(writes(zone.requests())).toEqual([expect.stringContaining('.receipt.json')]);
});

it('reads no file of a directory again while size and time are those of the receipt, and every byte with --verify', async () => {
  await zone.bring({ models: 'file:zone' });
  const key = `models--org--name/snapshots/${zone.commits['org/name']}/model.bin`;
  const path = join(zone.path, 'zone', key);
  const receipt = JSON.parse(await readFile(join(zone.path, 'b.receipt.json'), 'utf8')) as {
    models: { objects: { key: string; version: string }[] }[];
  };
  const mtime = Number(receipt.models[0]?.objects.find((each) => each.key === key)?.version.slice('mtime-'.length));
  // Bytes that rot change neither size nor time.
  await writeFile(path, Buffer.alloc(60_000, 'rotten'));
  await utimes(path, new Date(), (mtime + 0.5) / 1000);

  expect((await zone.bring({ models: 'file:zone' })).items[0]?.state).toBe('present');
  expect((await zone.bring({ models: 'file:zone', verify: true })).items[0]?.state).toBe('done');
  expect((await readFile(path)).equals(weights)).toBe(true);
  await rm(path);
  expect((await zone.bring({ models: 'file:zone' })).items[0]?.state).toBe('done');
});
