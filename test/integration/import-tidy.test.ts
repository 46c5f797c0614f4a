import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Report } from '../../src/core/report.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';
import { filesBelow } from '../support/place.ts';

const models = 's3://models/m';
const json = Buffer.from('{}');
let first: MadeBundle;
/** Another commit of one model of the first, and none of the other. */
let second: MadeBundle;

beforeAll(async () => {
  first = await makeBundle({
    'org/kept': { 'model.bin': Buffer.alloc(5000, 'a'), 'config.json': json },
    'org/gone': { 'model.bin': Buffer.alloc(5000, 'b') },
  });
  second = await makeBundle({ 'org/kept': { 'model.bin': Buffer.alloc(5000, 'c') } }, { name: 'c', s3: first.s3 });
});

afterAll(async () => {
  await second[Symbol.asyncDispose]();
  await first[Symbol.asyncDispose]();
});

beforeEach(() => {
  first.s3.objects.clear();
});

const keys = (): string[] =>
  [...first.s3.objects.keys()].map((key) => key.slice('models/m/'.length)).toSorted((a, b) => (a < b ? -1 : 1));
const put = (key: string, text: string | Buffer): void => first.s3.put('models', `m/${key}`, text);
const text = (key: string): string => Buffer.from(first.s3.objects.get(`models/m/${key}`)?.body ?? '').toString();
const tidied = ({ items }: Report): [string, string][] =>
  items.filter(({ kind }) => kind === 'former' || kind === 'leftover').map(({ name, state }) => [state, name]);
const warnings = ({ events }: MadeBundle): string[] =>
  events.flatMap((event) => (event.type === 'warning' ? event.text : []));
const holds = (bundle: MadeBundle, ...others: string[]): string[] => {
  const commit = bundle.commits['org/kept'] ?? '';
  const own = ['refs/main', `snapshots/${commit}/model.bin`, `trees/${commit}.json`];
  return [...own.map((path) => `models--org--kept/${path}`), ...others].toSorted((a, b) => (a < b ? -1 : 1));
};

it('prunes what the receipt of a former bundle names and this one does not hold, and nothing else', async () => {
  await first.bring({ models });
  put('models--org--gone/snapshots/0/ours-not', 'x');
  put('notes.txt', 'x');

  const plan = await second.bring({ models, prune: true, dryRun: true });
  const before = keys();
  const report = await second.bring({ models, prune: true });

  const gone = tidied(plan).map(([, key]) => key);
  expect(new Set(tidied(plan).map(([state]) => state))).toEqual(new Set(['planned']));
  expect(tidied(report)).toEqual(gone.map((key) => ['done', key]));
  expect(gone.filter((key) => !before.includes(key))).toEqual([]);
  expect(keys()).toEqual(
    holds(second, '.sie-mirror/c.receipt.json', 'models--org--gone/snapshots/0/ours-not', 'notes.txt'),
  );
  expect(text('models--org--kept/refs/main')).toBe(second.commits['org/kept']);
  const said = second.events.filter(({ type }) => type === 'note').map((event) => JSON.stringify(event));
  expect(gone.filter((key) => !said.some((line) => line.includes(key)))).toEqual([]);
});

it('counts what it removes neither as moved nor as brought', async () => {
  const { totals } = await second.bring({ models });
  first.s3.objects.clear();
  await first.bring({ models });

  const report = await second.bring({ models, prune: true });

  expect(report.totals).toEqual(totals);
  const [removed = ''] = tidied(report).map(([, key]) => key);
  expect(report.summary.filter((line) => line.includes(removed))).toHaveLength(1);
});

it('removes refs before what they lead to', async () => {
  await first.bring({ models });
  first.requests();

  await second.bring({ models, prune: true });

  const removed = first.requests().filter((request) => request.startsWith('DELETE '));
  const last = removed.findLastIndex((request) => request.includes('/refs/'));
  expect(removed.slice(0, last + 1).every((request) => request.includes('/refs/'))).toBe(true);
  expect(last).toBeGreaterThanOrEqual(0);
});

it('leaves what was changed since, and names it', async () => {
  await first.bring({ models });
  const changed = `models--org--gone/snapshots/${first.commits['org/gone']}/model.bin`;
  put(changed, Buffer.alloc(5000, 'z'));

  const report = await second.bring({ models, prune: true });

  expect(tidied(report)).toContainEqual(['skipped', changed]);
  expect(keys()).toContain(changed);
  expect(report.ok).toBe(true);
});

it('removes nothing without --prune, and remembers what a receipt of the same name brought', async () => {
  const renamed = await makeBundle({ 'org/other': { 'model.bin': json } }, { s3: first.s3 });
  await first.bring({ models });
  const before = keys().filter((key) => key.startsWith('models--'));
  await renamed.bring({ models });
  expect(keys()).toEqual(expect.arrayContaining(before));

  await renamed.bring({ models, prune: true });

  expect(keys().filter((key) => !key.startsWith('models--org--other/'))).toEqual(['.sie-mirror/b.receipt.json']);
  await renamed[Symbol.asyncDispose]();
});

it('prunes nothing while the import is not complete', async () => {
  await first.bring({ models });
  const before = keys();
  first.s3.server.faults = ({ method, path }) =>
    method === 'PUT' && path.includes('model.bin') ? { kind: 'status', status: 403 } : undefined;

  const report = await second.bring({ models, prune: true });
  first.s3.server.faults = undefined;

  expect([report.ok, keys().filter((key) => !before.includes(key))]).toEqual([false, ['.sie-mirror/c.receipt.json']]);
  expect(keys()).toEqual(expect.arrayContaining(before));
});

it('prunes a directory too, with the folders that become empty', async () => {
  const url = `file://${join(first.path, 'zone')}`;
  await first.bring({ models: url });

  await second.bring({ models: url, prune: true });

  const left = (await filesBelow(join(first.path, 'zone'))).filter((path) => path.startsWith('models--'));
  expect(left.sort()).toEqual(holds(second));
});

it('names what is known to disturb readers, leaves it, and removes it with --repair', async () => {
  await first.bring({ models });
  const commit = first.commits['org/kept'] ?? '';
  const old = '1'.repeat(40);
  const leftovers = {
    'models--org--kept/': '',
    'models--org--kept/snapshots/': '',
    'models--org--kept/blobs/abc': 'bytes',
    'models--org--kept/.no_exist/x': '',
    [`models--org--kept/snapshots/${commit}/extra.bin`]: 'x',
    [`models--org--kept/snapshots/${old}/config.json`]: 'x',
    [`models--org--kept/trees/${old}.json`]: JSON.stringify({ files: { 'config.json': {}, 'more.bin': {} } }),
    'models--org--kept/refs/pr': `${commit}\n`,
  };
  for (const [key, body] of Object.entries(leftovers)) put(key, body);
  put('models--org--unknown/blobs/x', 'not of this bundle');
  const found = Object.keys(leftovers).filter((key) => !key.includes(`snapshots/${old}`));

  const named = await first.bring({ models });

  expect(
    tidied(named)
      .map(([, key]) => key)
      .toSorted(),
  ).toEqual(found.toSorted());
  expect(new Set(tidied(named).map(([state]) => state))).toEqual(new Set(['skipped']));
  expect(found.filter((key) => !warnings(first).some((line) => line.includes(`\`${key}\``)))).toEqual([]);
  expect(keys()).toEqual(expect.arrayContaining(found));

  const mended = await first.bring({ models, repair: true });

  expect(tidied(mended).map(([state]) => state)).toEqual(found.map(() => 'done'));
  expect(keys().filter((key) => found.includes(key))).toEqual(['models--org--kept/refs/pr']);
  expect(text('models--org--kept/refs/pr')).toBe(commit);
  expect(keys()).toContain('models--org--unknown/blobs/x');
  expect(tidied(await first.bring({ models }))).toEqual([]);
});

it('says that it wrote anew a ref with a line break and a list of other files', async () => {
  await first.bring({ models });
  const commit = first.commits['org/kept'] ?? '';
  put('models--org--kept/refs/main', `${commit}\n`);
  put(`models--org--kept/trees/${commit}.json`, '{"files":{}}');

  await first.bring({ models });

  expect(warnings(first).filter((line) => line.includes('writes it anew'))).toHaveLength(2);
  expect(text('models--org--kept/refs/main')).toBe(commit);
});

it('keeps blobs/ in a full cache, and takes them for leftovers in the layout of SIE', async () => {
  await first.bring({ models, layout: 'full' });
  expect(tidied(await first.bring({ models, layout: 'full' }))).toEqual([]);

  await first.bring({ models, repair: true });

  expect(keys().filter((key) => key.includes('/blobs/'))).toEqual([]);
});

it('ends broken uploads of its own to keys of other bundles with --repair', async () => {
  const id = first.s3.beginUpload('models', 'm/models--old/x');
  const foreign = first.s3.beginUpload('models', 'm/models--old/x');
  const mark = { key: 'models--old/x', uploadId: id, digest: `sha256:${'0'.repeat(64)}`, size: 9, partSize: 8 };
  put('.sie-mirror/uploads/0-0.json', JSON.stringify(mark));

  expect(tidied(await first.bring({ models }))).toEqual([['skipped', 'models--old/x']]);
  expect(tidied(await first.bring({ models, repair: true }))).toEqual([['done', 'models--old/x']]);

  expect(first.s3.dangling().map((upload) => upload.id)).toEqual([foreign]);
  first.s3.endUpload(foreign);
});

it('warns of workers that read the place, but not of a release with its own, nor of the same bundle again', async () => {
  const isWarned = (): boolean => warnings(second).some((line) => line.includes('workers'));
  await second.bring({ models });
  expect(isWarned()).toBe(false);
  await second.bring({ models });
  expect(isWarned()).toBe(false);
  first.s3.objects.clear();
  await first.bring({ models });

  await second.bring({ models, dryRun: true });
  expect(isWarned()).toBe(true);
  await second.bring({ models, release: 'r2' });
  expect(isWarned()).toBe(false);
});

it('makes no directory and no file with --dry-run', async () => {
  const before = await filesBelow(first.path);
  const report = await first.bring({ models: 'file:none', dryRun: true });

  expect(report.items.map(({ state }) => state)).toEqual(['planned', 'planned']);
  expect(await filesBelow(first.path)).toEqual(before);
  await expect(readFile(join(first.path, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
});
