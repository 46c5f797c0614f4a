import { deflateSync } from 'node:zlib';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { plan } from '../../src/commands/plan.ts';
import { pull } from '../../src/commands/pull.ts';
import { snapshot } from '../../src/commands/snapshot.ts';
import { sha256 } from '../../src/core/digest.ts';
import type { Report } from '../../src/core/report.ts';
import { everything, type Filter } from '../../src/hub/selection/filter.ts';
import { type DenyRule, parseDeny } from '../../src/hub/safety/policy.ts';
import { type SafetyReport, safetySchema } from '../../src/hub/safety/safety.ts';
import { testContext } from '../support/context.ts';
import { startHub, type TestHub } from '../support/hub.ts';
import type { RepoFiles, RepoSpec } from '../support/hub-repo.ts';
import { evilPickle, tensorPickle } from '../support/pickles.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { tinyModel } from '../support/repos.ts';
import { torchZip } from '../support/zips.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let hub: TestHub;

beforeEach(async () => {
  place = await temporaryDirectory();
  hub = await startHub();
});

afterEach(async () => {
  await hub.close();
  await place[Symbol.asyncDispose]();
});

const repo = 'test/model';
const weights = 4 * 1024 * 1024;
const sieFilter: Filter = { preset: 'sie', include: [], exclude: [] };

function add(files: RepoFiles, more: Partial<RepoSpec> = {}): string {
  return hub.addRepo({ id: repo, license: 'mit', files: { ...tinyModel(1), ...files }, ...more }).commit;
}

async function run(
  deny: DenyRule[] = [],
  env: Record<string, string> = {},
  filter: Filter = everything,
): Promise<Report> {
  const { context } = await testContext({ cwd: place.path, env: { HF_ENDPOINT: hub.url, ...env } });
  try {
    return await snapshot({ repos: [repo], store: 'store', deny, filter }, context);
  } finally {
    await context.close();
  }
}

async function reportOf(commit: string): Promise<SafetyReport> {
  const text = await readFile(join(place.path, `store/safety/models--test--model@${commit}.json`), 'utf8');
  return safetySchema.parse(JSON.parse(text));
}

async function writeManifest(repos: readonly string[]): Promise<void> {
  const models = repos.map((name) => ({ repo: name }));
  const manifest = { apiVersion: 'sie-mirror/v1', kind: 'MirrorManifest', metadata: { name: 'x' }, models };
  await writeFile(join(place.path, 'm.yaml'), JSON.stringify(manifest));
}

const stored = (): Promise<string[]> => filesBelow(join(place.path, 'store'));
const errorsOf = ({ items }: Report): string[] =>
  items.flatMap(({ error }) => (error ? [`${error.code} ${error.at.item ?? ''}`] : []));

/** Bytes of bodies that hub and content network sent. */
const sentBytes = (): number => [...hub.server.requests, ...hub.cdn.requests].reduce((sum, { sent }) => sum + sent, 0);

describe('the safety report of a snapshot', () => {
  it('names an index of shards of which one was left out', async () => {
    const commit = add({
      'model.safetensors.index.json': '{"weight_map":{"a":"model.safetensors","b":"model-2.safetensors"}}',
      'model-2.safetensors': tinyModel(2)['model.safetensors'] ?? '',
    });
    expect(await run()).toMatchObject({ items: [{ detail: { safety: { verdict: 'clean' } } }] });
    const filter = { preset: 'all', include: [], exclude: ['model-2*'] } as const;
    expect(await run([], {}, filter)).toMatchObject({ items: [{ detail: { safety: { verdict: 'warning' } } }] });
    const index = (await reportOf(commit)).files.find(({ path }) => path === 'model.safetensors.index.json');
    expect(index?.findings).toMatchObject([{ severity: 'warning', code: 'missing-shard' }]);
  });

  it('stands in the store, outside of what a cache reads, and says what every file is', async () => {
    const commit = add({ 'pytorch_model.bin': torchZip(tensorPickle()), LICENSE: 'MIT License\n' });
    const report = await run();
    expect(report).toMatchObject({ ok: true });
    const safety = await reportOf(commit);
    expect(safety).toMatchObject({ repo, commit, gated: false, verdict: 'clean' });
    expect(safety.licence).toEqual({
      state: 'declared',
      id: 'mit',
      files: [{ path: 'LICENSE', sha256: sha256('MIT License\n').slice(7) }],
    });
    const formats = Object.fromEntries(safety.files.map(({ path, format }) => [path, format]));
    expect(formats).toMatchObject({
      'model.safetensors': 'safetensors',
      'pytorch_model.bin': 'torch-zip',
      'config.json': 'json',
      'assets/.gitkeep': 'empty',
    });
    expect(report.items[0]?.detail).toMatchObject({
      safety: { verdict: 'clean', report: `safety/models--test--model@${commit}.json`, pickles: 1, findings: 0 },
    });
  });

  it('names what a pickle imports, and does not stop for it', async () => {
    const commit = add({ 'training_args.bin': evilPickle() });
    const report = await run();
    expect(report).toMatchObject({ ok: true });
    expect(report.summary.join('\n')).toMatch(/danger: training_args\.bin imports `os\.system`/);
    expect(await reportOf(commit)).toMatchObject({ verdict: 'danger' });
  });

  it('lists code with its hashes, and what leads to it', async () => {
    const commit = add({
      'config.json': JSON.stringify({
        auto_map: { AutoModel: 'modeling_x.XModel', AutoConfig: 'other/code--configuration_y.YConfig' },
      }),
      'tokenizer_config.json': JSON.stringify({ auto_map: { AutoTokenizer: ['tok.T', null] } }),
      'modeling_x.py': 'from .deep import (\n  layer,\n)\nimport os\n',
      'deep/layer.py': 'from .. import rope\n',
      'rope.py': '',
      'tok.py': '',
      'convert.py': 'print(1)\n',
    });
    await run();
    const { remoteCode } = await reportOf(commit);
    expect(remoteCode.files.map(({ path, isReferred }) => [path, isReferred])).toEqual([
      ['convert.py', false],
      ['deep/layer.py', true],
      ['modeling_x.py', true],
      ['rope.py', true],
      ['tok.py', true],
    ]);
    expect(remoteCode.files[0]?.sha256).toBe(sha256('print(1)\n').slice(7));
    expect(remoteCode.references).toEqual([
      {
        file: 'config.json',
        key: 'auto_map.AutoConfig',
        value: 'other/code--configuration_y.YConfig',
        repo: 'other/code',
      },
      { file: 'config.json', key: 'auto_map.AutoModel', value: 'modeling_x.XModel' },
      { file: 'tokenizer_config.json', key: 'auto_map.AutoTokenizer', value: 'tok.T' },
    ]);
  });

  it('lists code and configurations that are too large to be looked through, and does not let them pass', async () => {
    const padding = ' '.repeat(17 * 1024 * 1024);
    const code = `import os\n${padding}`;
    const commit = add({ 'modeling.py': code, 'x/config.json': `{"auto_map":{"AutoModel":"org/x--m.C"}}${padding}` });
    expect(await run()).toMatchObject({ ok: true });
    expect((await reportOf(commit)).remoteCode).toEqual({
      files: [{ path: 'modeling.py', sha256: sha256(code).slice('sha256:'.length), isReferred: false }],
      references: [],
      unread: ['x/config.json'],
    });
    const refused = await run(['remote-code']);
    expect(refused).toMatchObject({ ok: false, exit: 2 });
    const items = refused.items.map(({ error }) => [error?.code, error?.at.item]);
    expect(items).toEqual([
      ['E_POLICY', `${repo}/modeling.py`],
      ['E_POLICY', `${repo}/x/config.json`],
    ]);
  });

  it('is the same for the same bytes', async () => {
    const commit = add({ 'x.bin': evilPickle(), 'a.py': '', 'b.py': '' });
    await run();
    const first = await reportOf(commit);
    await run();
    expect(await reportOf(commit)).toEqual(first);
  });

  it('counts a licence that the filter keeps beside the snapshot', async () => {
    const commit = add({ LICENSE: 'Own terms\n' }, { license: '' });
    const report = await run(['no-licence'], {}, sieFilter);
    expect(report).toMatchObject({ ok: true });
    expect((await reportOf(commit)).licence).toEqual({
      state: 'file',
      files: [{ path: 'LICENSE', sha256: sha256('Own terms\n').slice(7) }],
    });
  });

  it('costs no request beyond those of the snapshot', async () => {
    add({ 'pytorch_model.bin': torchZip(tensorPickle(), weights) });
    await run();
    const before = hub.server.requests.length + hub.cdn.requests.length;
    expect(await run()).toMatchObject({ ok: true });
    expect(hub.server.requests.length + hub.cdn.requests.length - before).toBe(2);
  });

  it.each([
    ['a pointer', `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 1\n`],
    ['a page', '<!doctype html><html></html>'],
  ])('of a repo with %s instead of weights is an error, and no ref is written', async (_, text) => {
    add({ 'model.safetensors': text }, { lfs: [] });
    const report = await run();
    expect(errorsOf(report)).toEqual([`E_CORRUPT ${repo}/model.safetensors`]);
    expect(report.exit).toBe(4);
    expect((await stored()).filter((path) => path.includes('/refs/'))).toEqual([]);
  });
});

describe('--deny', () => {
  const cases: [DenyRule, RepoFiles, Partial<RepoSpec>, string[]][] = [
    ['pickle', { 'pytorch_model.bin': torchZip(tensorPickle(), weights) }, {}, ['pytorch_model.bin']],
    ['pickle', { 'weights.model': evilPickle(), 'x.bin': evilPickle() }, {}, ['weights.model', 'x.bin']],
    ['pickle', { 'm.pkl.bz2': 'BZh91AY&SY', 'n.joblib': deflateSync(tensorPickle()) }, {}, ['m.pkl.bz2', 'n.joblib']],
    ['unsafe-pickle', { 'pytorch_model.bin': torchZip(evilPickle(), weights) }, {}, ['pytorch_model.bin']],
    ['unsafe-pickle', { 'n.joblib': deflateSync(evilPickle()) }, {}, ['n.joblib']],
    ['unsafe-pickle', { 'x.pt': torchZip(tensorPickle(), weights).subarray(0, -9) }, {}, ['x.pt']],
    ['remote-code', { 'a.py': '', 'sub/b.py': '' }, {}, ['a.py', 'sub/b.py']],
    ['remote-code', { 'config.json': '{"auto_map": {"AutoModel": "o/r--m.C"}}' }, {}, ['config.json']],
    ['malformed', { 'model.safetensors': Buffer.alloc(weights, 1) }, {}, ['model.safetensors']],
  ];
  it.each(cases)('`%s` refuses before any weights move: %#', async (rule, files, more, paths) => {
    add(files, more);
    const report = await run([rule]);
    expect(errorsOf(report)).toEqual(paths.map((path) => `E_POLICY ${repo}/${path}`));
    expect(report.exit).toBe(2);
    expect((await stored()).filter((path) => path.includes('blobs'))).toEqual([]);
    expect(sentBytes()).toBeLessThan(weights / 4);
    // Weights are asked for by ranges that end; only what is smaller than such a range comes as a whole.
    const large = hub.cdn.requests.filter(({ sent }) => sent >= 64 * 1024);
    for (const { headers } of large) expect(headers.range).toMatch(/^bytes=\d+-\d+$/);
  });

  it.each<[DenyRule, Partial<RepoSpec>]>([
    ['no-licence', { license: '' }],
    ['no-licence', { license: 'unknown' }],
  ])('`%s` refuses by the listing alone', async (rule, more) => {
    add({}, more);
    const report = await run([rule, 'pickle']);
    expect(errorsOf(report)).toEqual([`E_POLICY ${repo}`]);
    expect(report.exit).toBe(2);
    expect(hub.server.requests).toHaveLength(2);
  });

  it('`gated` refuses a repo that one has access to, too', async () => {
    await hub.close();
    hub = await startHub({ tokens: { hf_reader: { access: [repo] } } });
    add({}, { gated: 'auto' });
    expect(errorsOf(await run(['gated'], { HF_TOKEN: 'hf_reader' }))).toEqual([`E_POLICY ${repo}`]);
    expect(hub.cdn.requests).toEqual([]);
  });

  it('judges the same behind a proxy that does not know ranges', async () => {
    await hub.close();
    hub = await startHub({ cdn: { ignoreRange: true } });
    add({ 'pytorch_model.bin': torchZip(evilPickle(), weights) });
    expect(errorsOf(await run(['unsafe-pickle']))).toEqual([`E_POLICY ${repo}/pytorch_model.bin`]);
  });

  it('lets through what none of its rules is about', async () => {
    add({ 'pytorch_model.bin': torchZip(tensorPickle(), weights), LICENSE: 'x' }, { license: '' });
    expect(await run(['unsafe-pickle', 'remote-code', 'no-licence', 'gated', 'malformed'])).toMatchObject({ ok: true });
  });

  it('finds a pickle under the name of a text when it has come, and writes no ref', async () => {
    add({ 'notes.txt': evilPickle() });
    const report = await run(['unsafe-pickle']);
    expect(errorsOf(report)).toEqual([`E_POLICY ${repo}/notes.txt`]);
    expect(report.exit).toBe(2);
    expect((await stored()).filter((path) => path.includes('/refs/'))).toEqual([]);
  });

  it('fetches nothing of a repo that is shut, and goes on with the others', async () => {
    add({});
    hub.addRepo({ id: 'test/gated', files: { 'x.bin': evilPickle() }, gated: 'manual' });
    const { context } = await testContext({ cwd: place.path, env: { HF_ENDPOINT: hub.url } });
    const report = await snapshot({ repos: ['test/gated', repo], store: 'store', deny: ['pickle'] }, context);
    await context.close();
    expect(errorsOf(report)).toEqual(['E_GATED test/gated']);
    expect(report.exit).toBe(3);
    expect((await stored()).filter((path) => path.includes('/refs/'))).toEqual(['hub/models--test--model/refs/main']);
  });

  it('stops a pull before any repo is fetched', async () => {
    add({});
    hub.addRepo({ id: 'test/other', files: { 'x.bin': evilPickle() } });
    const { context } = await testContext({ cwd: place.path, env: { HF_ENDPOINT: hub.url } });
    await writeManifest([repo, 'test/other']);
    const report = await pull({ manifest: 'm.yaml', store: 'store', deny: ['no-licence'] }, context);
    await context.close();
    expect(errorsOf(report)).toEqual(['E_POLICY test/other']);
    expect((await stored()).filter((path) => path.startsWith('hub/'))).toEqual([]);
  });

  it('lets a plan write no lock, and says which file of which repo', async () => {
    add({});
    hub.addRepo({ id: 'test/other', files: { 'x.bin': evilPickle() }, license: 'mit' });
    const { context } = await testContext({ cwd: place.path, env: { HF_ENDPOINT: hub.url } });
    await writeManifest([repo, 'test/other']);
    const report = await plan({ manifest: 'm.yaml', out: 'l.json', deny: ['unsafe-pickle'] }, context);
    expect(errorsOf(report)).toEqual(['E_POLICY test/other/x.bin']);
    expect(await filesBelow(place.path)).toEqual(['m.yaml']);
    expect(await plan({ manifest: 'm.yaml', out: 'l.json', deny: ['no-licence'] }, context)).toMatchObject({
      ok: true,
    });
    await context.close();
  });

  it('knows its rules, and says which there are', () => {
    expect(parseDeny('pickle, no-license,REMOTE-CODE')).toEqual(['pickle', 'no-licence', 'remote-code']);
    for (const wrong of ['', 'pickles', 'pickle,', 'constructor'])
      expect(() => parseDeny(wrong)).toThrow(expect.objectContaining({ code: 'E_USAGE' }));
  });
});
