import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseReceipt, type Receipt } from '../../src/bundle/records/receipt.ts';
import { bundle } from '../../src/commands/bundle.ts';
import type { Context } from '../../src/commands/context.ts';
import { importBundle } from '../../src/commands/import.ts';
import type { ImportOptions } from '../../src/commands/import/options.ts';
import { pull } from '../../src/commands/pull.ts';
import { verifyZone } from '../../src/commands/verify/zone.ts';
import { sha256 } from '../../src/core/digest.ts';
import type { Report } from '../../src/core/report.ts';
import { chartArchive, helmChart } from '../support/charts.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { startFileServer } from '../support/file-server.ts';
import { buildImage } from '../support/images.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { placeTool } from '../support/tool.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let zone: TestRegistry;
const chart = helmChart();
const notes = Buffer.from('notes');

beforeAll(async () => {
  place = await temporaryDirectory();
  const source = await startRegistry();
  source.put('charts/demo', chart, '0.1.0');
  source.put('app', buildImage({ seed: 'app' }), '1');
  const files = await startFileServer({ '/notes.txt': notes });
  const manifest = {
    apiVersion: 'sie-mirror/v1',
    kind: 'MirrorManifest',
    metadata: { name: 'b' },
    images: [
      { ref: `${source.host}/charts/demo:0.1.0`, to: 'with/images/demo' },
      { ref: `${source.host}/app:1`, to: 'app' },
    ],
    files: [{ url: `${files.url}/notes.txt` }],
  };
  await writeFile(join(place.path, 'm.yaml'), JSON.stringify(manifest));
  const { context } = await testContext({
    cwd: place.path,
    insecureHosts: [source.host],
    toolFile: await placeTool(place.path),
  });
  await pull({ manifest: 'm.yaml', store: 'store' }, context);
  await bundle({ store: 'store', out: 'usb' }, context);
  await context.close();
  await source.close();
  await files.close();
});

afterAll(() => place[Symbol.asyncDispose]());

beforeEach(async () => {
  zone = await startRegistry();
  for (const left of ['zone', 'b.receipt.json']) await rm(join(place.path, left), { recursive: true, force: true });
  return () => zone.close();
});

async function within<T>(work: (context: Context) => Promise<T>): Promise<T> {
  const { context } = await testContext({ cwd: place.path, insecureHosts: [zone.host] });
  try {
    return await work(context);
  } finally {
    await context.close();
  }
}

const bring = (options: Partial<ImportOptions>): Promise<Report> =>
  within((context) => importBundle({ bundle: 'usb/b', ...options }, context));

async function receipt(): Promise<Receipt> {
  return parseReceipt(await readFile(join(place.path, 'b.receipt.json')), 'b');
}

const zoneFiles = (): Promise<string[]> => filesBelow(join(place.path, 'zone'));
const isPush = (): number => zone.server.count(/^(?:PUT|POST|PATCH) /);

it('takes a chart for an image where nothing is said of charts', async () => {
  await bring({ images: `${zone.host}/m` });

  expect(zone.repositories()).toEqual(['m/app', 'm/with/images/demo']);
});

it('puts charts right below their own place in a registry, as helm push does, and images elsewhere', async () => {
  const report = await bring({ images: `${zone.host}/m`, charts: `oci://${zone.host}/charts/` });

  expect(report.ok).toBe(true);
  expect(zone.repositories()).toEqual(['charts/demo', 'm/app']);
  expect(zone.manifest('charts/demo', '0.1.0')?.digest).toBe(chart.digest);
  const { complete, images, targets } = await receipt();
  expect([complete, targets.charts]).toEqual([true, `oci://${zone.host}/charts/`]);
  expect(images.map(({ target, chart: isChart }) => [target, isChart])).toEqual([
    [`${zone.host}/m/app:1`, undefined],
    [`${zone.host}/charts/demo:0.1.0`, true],
  ]);
});

it('lets images and charts be verified at their places, and says which were not looked at', async () => {
  await bring({ images: `${zone.host}/m`, charts: `oci://${zone.host}/charts` });
  const check = (registry: string): Promise<Report> =>
    within((context) => verifyZone({ images: registry, receipts: ['b.receipt.json'] }, context));

  const images = await check(`${zone.host}/m`);
  const charts = await check(`${zone.host}/charts`);

  expect(images.items.map(({ name, state }) => [name, state])).toEqual([
    [`${zone.host}/m/app:1`, 'done'],
    [`${zone.host}/charts/demo:0.1.0`, 'skipped'],
  ]);
  expect(charts.items.map(({ state }) => state)).toEqual(['done', 'skipped']);
  expect([images.ok, charts.ok]).toEqual([true, true]);
});

it('writes the .tgz of each chart into a directory, and single files into another, once', async () => {
  const options = { charts: 'zone/charts', files: `file://${join(place.path, 'zone/files')}` };

  const first = await bring(options);

  expect(first.items.map(({ kind, state }) => [kind, state])).toEqual([
    ['chart', 'done'],
    ['file', 'done'],
  ]);
  expect((await zoneFiles()).filter((path) => !path.includes('.lock'))).toEqual([
    'charts/demo-0.1.0.tgz',
    'files/notes.txt',
  ]);
  expect((await readFile(join(place.path, 'zone/charts/demo-0.1.0.tgz'))).equals(chartArchive())).toBe(true);
  expect((await readFile(join(place.path, 'zone/files/notes.txt'))).equals(notes)).toBe(true);
  expect(await receipt()).toMatchObject({
    complete: true,
    images: [],
    charts: [{ digest: chart.digest, files: [{ path: 'demo-0.1.0.tgz', digest: sha256(chartArchive()) }] }],
    files: [{ path: 'notes.txt', digest: sha256(notes), size: notes.length }],
  });
  expect((await bring(options)).items.map(({ state }) => state)).toEqual(['present', 'present']);
  expect(isPush()).toBe(0);
});

it('shares charts and files among machines, no file twice, and proves them at the end', async () => {
  const options = { charts: 'zone/both', files: 'zone/both', images: `${zone.host}/m` };
  const shards = ['0/3', '1/3', '2/3'];

  const parts = await Promise.all(
    shards.map((shard) => bring({ ...options, shard, receipt: `part-${shard.slice(0, 1)}.json` })),
  );

  const brought = parts.flatMap(({ items }) => items.map(({ kind, state }) => `${kind} ${state}`));
  expect(brought.toSorted()).toEqual(['chart done', 'file done', 'image done']);
  const report = await bring({ ...options, finish: true });
  expect(report.items.map(({ state }) => state)).toEqual(['present', 'present', 'present']);
  expect(await receipt()).toMatchObject({ complete: true, files: [{ path: 'notes.txt' }] });
});

it('keeps on the receipt what an earlier import brought elsewhere', async () => {
  await bring({ charts: `oci://${zone.host}/charts` });
  await bring({ files: 'zone/files' });
  await bring({ images: `${zone.host}/m` });

  const { complete, images, files, targets } = await receipt();
  expect(images.map(({ target }) => target).sort()).toEqual([
    `${zone.host}/charts/demo:0.1.0`,
    `${zone.host}/m/app:1`,
    `${zone.host}/m/with/images/demo:0.1.0`,
  ]);
  expect(files?.map(({ path }) => path)).toEqual(['notes.txt']);
  expect([complete, Object.keys(targets).sort()]).toEqual([true, ['charts', 'files', 'images']]);
});

it('plans charts and files without writing', async () => {
  const report = await bring({ charts: 'zone/charts', files: 'zone/files', dryRun: true });

  expect(report.items.map(({ kind, name, state }) => [kind, name, state])).toEqual([
    ['chart', 'demo-0.1.0.tgz', 'planned'],
    ['file', 'notes.txt', 'planned'],
  ]);
  expect(existsSync(join(place.path, 'zone'))).toBe(false);
});

it('brings a file again whose bytes are others', async () => {
  await bring({ files: 'zone/files' });
  await writeFile(join(place.path, 'zone/files/notes.txt'), 'other');

  expect((await bring({ files: 'zone/files' })).items[0]?.state).toBe('done');
  expect((await readFile(join(place.path, 'zone/files/notes.txt'))).equals(notes)).toBe(true);
});

it.each<[string, Partial<ImportOptions>]>([
  ['a registry that is none', { charts: 'oci://not a host/x' }],
  ['a scheme that nobody knows', { files: 'ftp://x/y' }],
])('refuses %s', async (_, options) => {
  expect(await codeOf(bring(options))).toBe('E_USAGE');
});
