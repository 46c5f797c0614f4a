import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { startHub, type TestHub } from '../support/hub.ts';
import { tinyModel } from '../support/repos.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { downloadWithHub, loadWithTransformers, readDatasetWithHub, readWithHub, verifyWithHub } from './readers.ts';
import { installTools, type Tools } from './tools.ts';

/** Stores as `snapshot` leaves them, read offline by every huggingface_hub that we have; and theirs, taken over by us. */

const model = 'sie-test/tiny-e5';
const dataset = 'sie-test/rows';
let tools: Tools;
let directory: string;
let hub: TestHub;
let commit: string;
let sizes: Record<string, number>;

beforeAll(async () => {
  tools = await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-snapshot-'));
  hub = await startHub({
    tokens: { hf_job: { access: ['org/shut'] } },
    publishers: { 'jwt-of-the-job': { resource: 'me', token: 'hf_job' } },
  });
  const content = { ...tinyModel(3, { nonAscii: true }), 'pytorch_model.bin': 'legacy', 'onnx/model.onnx': 'onnx' };
  sizes = Object.fromEntries(Object.entries(content).map(([path, bytes]) => [path, Buffer.from(bytes).length]));
  ({ commit } = hub.addRepo({ id: model, files: content, tags: ['v1.0'] }));
  hub.addRepo({ id: dataset, type: 'dataset', files: { 'data/a.parquet': 'rows' } });
});

afterAll(async () => {
  await hub?.close();
  await rm(directory, { recursive: true, force: true });
});

async function snapshot(args: string[], env: Record<string, string> = {}): Promise<void> {
  const result = await runCli(['snapshot', ...args], { cwd: directory, env: { HF_ENDPOINT: hub.url, ...env } });
  expect(result, result.stderr).toMatchObject({ code: 0 });
}

const wantedBySie = (): Record<string, number> =>
  Object.fromEntries(
    Object.entries(sizes).filter(([path]) => !['README.md', 'pytorch_model.bin', 'onnx/model.onnx'].includes(path)),
  );

describe('huggingface_hub reads offline, by name and by commit, without a warning', () => {
  it.each<[string, string[], Record<string, string>, () => Record<string, number>]>([
    ['all files', [model], {}, () => sizes],
    ['what SIE wants', [model, '--filter', 'sie'], {}, wantedBySie],
    ['real files instead of links', [model], { HF_HUB_DISABLE_SYMLINKS: '1' }, () => sizes],
  ])('%s', async (name, args, env, files) => {
    const store = join(directory, name);
    await snapshot([...args, '--store', store], env);
    for (const python of tools.hubs)
      expect(await readWithHub(python, join(store, 'hub'), model, commit), python.version).toMatchObject({
        same: true,
        files: files(),
        warnings: [],
        refs: ['main'],
      });
  });

  it('less than an earlier run had left', async () => {
    const store = join(directory, 'narrowed');
    await snapshot([model, '--store', store]);
    await snapshot([`${model}@v1.0`, '--filter', 'sie', '--store', store]);
    for (const python of tools.hubs)
      expect(await readWithHub(python, join(store, 'hub'), model, commit), python.version).toMatchObject({
        same: true,
        files: wantedBySie(),
        refs: ['main', 'v1.0'],
      });
  });

  it('a dataset', async () => {
    const store = join(directory, 'dataset');
    await snapshot([dataset, '--type', 'dataset', '--store', store]);
    for (const python of tools.hubs)
      expect(await readDatasetWithHub(python, join(store, 'hub'), dataset), python.version).toEqual(['data/a.parquet']);
  });
});

it('huggingface_hub finds every file of the store as the hub has it, and none that is missing or too many', async () => {
  const store = join(directory, 'verified');
  await snapshot([model, '--store', store]);
  const newest = tools.hubs.at(-1);
  if (!newest) throw new Error('no huggingface_hub is installed');
  expect(await verifyWithHub(newest, hub.url, join(store, 'hub'), model)).toEqual([Object.keys(sizes).length, 0, 0, 0]);
});

it('transformers loads a model of the store offline, by name and by commit, with the numbers that the hub had', async () => {
  const files = tinyModel(7);
  const tokenizer = JSON.parse(String(files['tokenizer.json'])) as { model: { vocab: Record<string, number> } };
  // It wants a key that is optional elsewhere.
  files['tokenizer.json'] = JSON.stringify({ ...tokenizer, added_tokens: [] });
  const { commit: pinned } = hub.addRepo({ id: 'sie-test/loaded', files });
  const store = join(directory, 'loaded');
  await snapshot([`sie-test/loaded@${pinned}`, '--filter', 'sie', '--store', store]);
  const words = Object.entries(tokenizer.model.vocab).slice(4, 7);

  const text = words.map(([word]) => word).join(' ');
  const loaded = await loadWithTransformers(tools.loader, join(store, 'hub'), ['sie-test/loaded', pinned, text]);

  const ids = words.map(([, id]) => id);
  const rows = ids.map((id) => rowOf(files['model.safetensors'] as Uint8Array, id));
  const model = { type: 'bert', size: 8, ids, rows };
  expect(loaded).toEqual([model, model]);
});

/** Numbers of one row of the only table of a tiny model. */
function rowOf(file: Uint8Array, row: number): number[] {
  const bytes = Buffer.from(file);
  const from = 8 + Number(bytes.readBigUInt64LE(0)) + row * 32;
  return Array.from({ length: 8 }, (_, column) => bytes.readFloatLE(from + 4 * column));
}

it('huggingface_hub exchanges the identity of a CI job at the hub of the tests', async () => {
  hub.addRepo({ id: 'org/shut', files: { 'config.json': '{}' }, gated: 'manual' });
  const newest = tools.hubs.at(-1);
  if (!newest) throw new Error('no huggingface_hub is installed');
  const job = { HF_OIDC_RESOURCE: 'me', HF_OIDC_ID_TOKEN: 'jwt-of-the-job' };
  await downloadWithHub(newest, hub.url, join(directory, 'home-job'), 'org/shut', job);
  expect(hub.server.count(/^POST \/oauth\/token/)).toBe(1);
});

it('hf_xet fetches from the hub of the tests by Xet, with the right bytes', async () => {
  const weights = seededBytes('weights', 3_000_000);
  const { commit: pinned } = hub.addRepo({ id: 'org/xet', files: { 'model.safetensors': weights }, xet: true });
  const newest = tools.hubs.at(-1);
  if (!newest) throw new Error('no huggingface_hub is installed');

  await downloadWithHub(newest, hub.url, join(directory, 'home-xet'), 'org/xet', {});

  const path = join(directory, 'home-xet/hub/models--org--xet/snapshots', pinned, 'model.safetensors');
  expect((await readFile(path)).equals(weights)).toBe(true);
  expect(hub.xet.server.count(/^GET \/xorbs\//)).toBeGreaterThan(0);
});

it('caches of huggingface_hub are taken over without fetching a byte', async () => {
  for (const python of tools.hubs) {
    const home = join(directory, `home-${python.version}`);
    await downloadWithHub(python, hub.url, home, model);
    const before = hub.server.requests.length;
    const store = join(directory, `adopted-${python.version}`);
    await snapshot([model, '--adopt', join(home, 'hub'), '--store', store]);
    // Two listing calls, and nothing else.
    expect(hub.server.requests.length - before, python.version).toBe(2);
    await snapshot(['--offline', '--store', store]);
  }
});
