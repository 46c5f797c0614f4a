import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseReceipt } from '../../src/bundle/records/receipt.ts';
import { importLocal, type ImportLocalOptions } from '../../src/commands/import/local.ts';
import { values } from '../../src/commands/values.ts';
import { digestHex, sha256 } from '../../src/core/digest.ts';
import type { Report } from '../../src/core/report.ts';
import { codeOf } from '../support/failures.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';

const gguf = Buffer.alloc(60_000, 'gguf');
const hex = digestHex(sha256(gguf));
const models = 's3://models/llm';
let zone: MadeBundle;

beforeAll(async () => {
  zone = await makeBundle({ 'org/name': { 'config.json': Buffer.from('{}') } });
  await put('tiny.gguf', gguf);
});

afterAll(() => zone[Symbol.asyncDispose]());

beforeEach(async () => {
  zone.s3.objects.clear();
  zone.requests();
  for (const left of ['model', 'zone', 'org--tiny.receipt.json'])
    await rm(join(zone.path, left), { recursive: true, force: true });
});

async function put(path: string, bytes: Buffer | string): Promise<void> {
  await mkdir(dirname(join(zone.path, path)), { recursive: true });
  await writeFile(join(zone.path, path), bytes);
}

const bring = (options: Partial<ImportLocalOptions>): Promise<Report> =>
  zone.within((context) => importLocal({ path: 'tiny.gguf', as: 'org/tiny', models, ...options }, context));
const keys = (): string[] => [...zone.s3.objects.keys()].map((key) => key.slice('models/'.length)).sort();
const receiptOf = async (name: string): Promise<ReturnType<typeof parseReceipt>> =>
  parseReceipt(await readFile(join(zone.path, `${name}.receipt.json`)), name);

it('brings a single file below the name that it is given, says its sha256, and puts it on a receipt', async () => {
  const report = await bring({});

  expect(keys()).toEqual(['llm/.sie-mirror/org--tiny.receipt.json', 'llm/org/tiny/tiny.gguf']);
  expect(Buffer.from(zone.s3.objects.get('models/llm/org/tiny/tiny.gguf')?.body ?? '').equals(gguf)).toBe(true);
  expect(report.summary.join('\n')).toContain(`sha256:${hex}`);
  expect(await receiptOf('org--tiny')).toMatchObject({
    complete: true,
    targets: { models },
    models: [{ repo: 'org/tiny', objects: [{ key: 'org/tiny/tiny.gguf', digest: `sha256:${hex}`, size: 60_000 }] }],
  });
});

it('writes nothing the second time, and only plans with a dry run', async () => {
  expect((await bring({ dryRun: true })).items[0]?.state).toBe('planned');
  expect(keys()).toEqual([]);
  await bring({});
  zone.requests();

  expect((await bring({})).items[0]?.state).toBe('present');

  expect(zone.requests().filter((request) => /^(?:PUT|POST) /.test(request))).toEqual([]);
});

it('holds the file to the sha256 that is given: other bytes never become visible', async () => {
  const report = await bring({ sha256: digestHex(sha256('other')) });

  expect([report.ok, report.exit, report.items[0]?.error?.code]).toEqual([false, 4, 'E_DIGEST_MISMATCH']);
  expect(keys()).toEqual(['llm/.sie-mirror/org--tiny.receipt.json']);
  expect((await receiptOf('org--tiny')).complete).toBe(false);
  expect((await bring({ sha256: hex })).ok).toBe(true);
});

it('brings a directory, through the links of a cache and without what git and hf keep there', async () => {
  await put('blobs/abc', gguf);
  await put('model/config.json', '{}');
  await put('model/.git/HEAD', 'x');
  await put('model/.cache/huggingface/download/config.json.metadata', 'x');
  await symlink('../blobs/abc', join(zone.path, 'model/model.safetensors'));

  await bring({ path: 'model', models: 'file:zone' });

  expect((await receiptOf('org--tiny')).models[0]?.objects.map(({ key }) => key)).toEqual([
    'org/tiny/config.json',
    'org/tiny/model.safetensors',
  ]);
  expect((await readFile(join(zone.path, 'zone/org/tiny/model.safetensors'))).equals(gguf)).toBe(true);
});

it('lays files out for SIE too, below a commit that the same files always have', async () => {
  await bring({ layout: 'sie', release: '2026-11' });
  const [first] = (await receiptOf('org--tiny')).models;
  await bring({ layout: 'sie', models: 'file:zone', as: 'other/name' });

  const commit = first?.commit ?? '';
  expect(commit).toMatch(/^[0-9a-f]{40}$/);
  expect((await receiptOf('other--name')).models[0]?.commit).toBe(commit);
  const folder = join(zone.path, 'zone/models--other--name');
  expect(await readFile(join(folder, 'refs/main'), 'utf8')).toBe(commit);
  expect(JSON.parse(await readFile(join(folder, `trees/${commit}.json`), 'utf8'))).toMatchObject({
    files: { 'tiny.gguf': { size: 60_000, lfs_sha256: hex } },
  });
  expect(keys()).toContain(`llm/2026-11/models/models--org--tiny/snapshots/${commit}/tiny.gguf`);
});

it('leaves a receipt that values turns into a Model of LLMKube', async () => {
  await bring({});

  const report = await zone.within((context) =>
    values({ receipt: 'org--tiny.receipt.json', consumers: ['llmkube'], pullSecret: 'regcred', force: false }, context),
  );

  const text = report.summary.join('\n');
  expect(text).toContain('source: s3://models/llm/org/tiny/tiny.gguf');
  expect(text).toContain(hex);
});

it.each<[string, Partial<ImportLocalOptions>, string]>([
  ['a name that leads elsewhere', { as: '../x' }, 'E_USAGE'],
  ['a name of three parts', { as: 'a/b/c' }, 'E_USAGE'],
  ['a sha256 that is none', { sha256: 'abc' }, 'E_USAGE'],
  ['a sha256 without a name', { as: undefined, sha256: hex }, 'E_USAGE'],
  ['no target', { models: undefined }, 'E_USAGE'],
  ['a registry for images', { images: 'registry.zone/x' }, 'E_USAGE'],
  ['a key, where nothing is signed', { keys: ['pub.pem'] }, 'E_USAGE'],
  ['a sha256 of a directory', { path: 'usb', sha256: hex }, 'E_USAGE'],
  ['a file that is not there', { path: 'none.gguf' }, 'E_NOT_FOUND'],
])('refuses %s before anything is written', async (_, options, code) => {
  expect(await codeOf(bring(options))).toBe(code);
  expect(zone.requests()).toEqual([]);
});

it.each([
  ['no file at all', async () => mkdir(join(zone.path, 'model')), 'E_NOT_FOUND'],
  [
    'a link to a directory',
    async () => put('model/a', 'a').then(() => symlink('..', join(zone.path, 'model/up'))),
    'E_PATH',
  ],
])('refuses a directory with %s', async (_, prepare, code) => {
  await prepare();

  expect(await codeOf(bring({ path: 'model' }))).toBe(code);
});

it('says how to import a file when it is taken for a bundle', async () => {
  expect(await codeOf(zone.bring({ bundle: 'tiny.gguf', models }))).toBe('E_PATH');
});
