import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pull } from '../../src/commands/pull.ts';
import { failureIn, type HubPlace, readLockOf, readSnapshot, requestsOf, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { tinyModel } from '../support/repos.ts';

let place: HubPlace;

beforeEach(async () => {
  place = await startHubPlace();
});

afterEach(async () => {
  await place.close();
});

const folder = 'models--org--name';
const ref = (name: string, of = folder): Promise<string> => readFile(join(place.cache, of, 'refs', name), 'utf8');
const tree = async (commit: string, of = folder): Promise<string[]> => {
  const text = await readFile(join(place.cache, of, 'trees', `${commit}.json`), 'utf8');
  return Object.keys((JSON.parse(text) as { files: object }).files);
};

describe('snapshot fetches', () => {
  it.each([
    ['model', 'org/name', 'models--org--name'],
    ['model', 'gpt2', 'models--gpt2'],
    ['dataset', 'org/name', 'datasets--org--name'],
    ['dataset', 'squad', 'datasets--squad'],
    ['space', 'org/name', 'spaces--org--name'],
  ] as const)('a %s called %s into %s', async (type, id, where) => {
    const files = { 'a.txt': 'a', 'x/weights.bin': 'weights' };
    const { commit } = place.hub.addRepo({ id, type, files });
    // The name of another type is another repo.
    for (const other of ['model', 'dataset', 'space'] as const)
      if (other !== type) place.hub.addRepo({ id, type: other, files: { 'other.txt': other } });

    const report = await place.snapshot(id, { type });

    expect(report).toMatchObject({ ok: true, items: [{ kind: type, state: 'done' }] });
    expect(await readSnapshot(place.cache, where, commit)).toEqual(files);
    expect(await ref('main', where)).toBe(commit);
    expect(await readLockOf(place)).toMatchObject({ models: [{ type, repo: id, commit }] });
  });

  it.each([
    ['v1.0', { tags: ['v1.0'] }],
    ['feature/x', { branches: ['feature/x'] }],
    ['refs/pr/1', { branches: ['refs/pr/1'] }],
    ['refs/convert/parquet', { branches: ['refs/convert/parquet'] }],
  ])('the revision %s, and says so in refs', async (revision, names) => {
    place.hub.addRepo({ id: 'org/name', files: { 'a.txt': 'main' } });
    const { commit } = place.hub.addRepo({ id: 'org/name', files: { 'a.txt': revision }, branches: [], ...names });

    expect(await place.snapshot(`org/name@${revision}`)).toMatchObject({ ok: true });

    expect(await readSnapshot(place.cache, folder, commit)).toEqual({ 'a.txt': revision });
    expect(await ref(revision)).toBe(commit);
    expect(await ref('main')).toBe(commit);
  });

  it('a commit, which needs no ref but main', async () => {
    const { commit } = place.hub.addRepo({ id: 'org/name', files: { 'a.txt': 'old' } });
    place.hub.addRepo({ id: 'org/name', files: { 'a.txt': 'new' } });

    await place.snapshot(`org/name@${commit}`);

    expect(await readSnapshot(place.cache, folder, commit)).toEqual({ 'a.txt': 'old' });
    expect(await filesBelow(join(place.cache, folder, 'refs'))).toEqual(['main']);
  });

  it.each([
    ['a renamed repo', 'new/name'],
    ['a repo in another spelling', 'Org/NAME'],
  ])('%s under the name that was asked for, and notes the other', async (_, canonical) => {
    const files = { 'a.txt': 'a', 'model.safetensors': 'weights' };
    const { commit } = place.hub.addRepo({ id: canonical, files, movedFrom: ['org/name'] });

    const report = await place.snapshot('org/name');

    expect(await readSnapshot(place.cache, folder, commit)).toEqual(files);
    expect(report.items[0]?.detail).toMatchObject({ repo: 'org/name', canonical });
    expect(await readLockOf(place)).toMatchObject({ models: [{ repo: 'org/name', canonical }] });
  });

  it('from a hub whose address ends with slashes', async () => {
    place.hub.addRepo({ id: 'org/name', files: { a: 'a' } });
    const own = await place.withEnv({ HF_ENDPOINT: `${place.hub.url}//` });
    expect(await own.snapshot('org/name')).toMatchObject({ ok: true });
    await own.close();
  });

  it('files with odd names', async () => {
    const files = Object.fromEntries(
      ['größe + 量.txt', 'a b/#1?.json', 'a%20b', "it's;&=.txt", 'x/.hidden', 'deep/er/est/file', 'c.partial'].map(
        (path) => [path, `bytes of ${path}`],
      ),
    );
    const { commit } = place.hub.addRepo({ id: 'org/name', files });

    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });

    const expected = Object.entries(files).map(([path, text]) => [path, Buffer.from(text).toString('latin1')]);
    expect(await readSnapshot(place.cache, folder, commit)).toEqual(Object.fromEntries(expected));
  });

  it('more files than two pages of a listing hold, by a call a page and one more, and one GET a file', async () => {
    await place.close();
    place = await startHubPlace({ pageSize: 100 });
    const files = Object.fromEntries(
      Array.from({ length: 250 }, (_, index) => [`d${index % 7}/f${index}`, `bytes ${index}`]),
    );
    const { commit } = place.hub.addRepo({ id: 'org/name', files });

    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });

    expect(await tree(commit)).toHaveLength(250);
    const { server } = place.hub;
    expect(server.count(/^GET \/api\/models\/org\/name\/revision/)).toBe(1);
    expect(server.count(/^GET \/api\/models\/org\/name\/tree/)).toBe(3);
    expect(server.count(/^GET \/org\/name\/resolve/)).toBe(250);
  });
});

describe('snapshot asks', () => {
  it('two API calls a repo and one GET a file, no HEAD, and nothing but the calls when nothing changed', async () => {
    place.hub.addRepo({ id: 'org/name', files: tinyModel(1) });
    const count = Object.keys(tinyModel(1)).length;

    await place.snapshot('org/name');
    const first = requestsOf(place);
    await place.snapshot('org/name');
    const second = requestsOf(place).slice(first.length);

    const calls = (requests: string[]): string[] => requests.filter((each) => each.startsWith('GET /api/models/'));
    expect(calls(first)).toHaveLength(2);
    expect(first.filter((each) => each.startsWith('GET /org/name/resolve/'))).toHaveLength(count);
    // A regular file is one redirect within the hub, an LFS file one to the other host.
    expect(first.filter((each) => each.startsWith('GET /api/resolve-cache/'))).toHaveLength(count - 1);
    expect(place.hub.cdn.requests).toHaveLength(1);
    expect(first.filter((each) => !each.startsWith('GET '))).toEqual([]);
    expect(second).toHaveLength(2);
    expect(calls(second)).toHaveLength(2);
  });
});

describe('include, exclude and filter', () => {
  const files = {
    'README.md': '---\nlicense: mit\n---\n',
    LICENSE: 'MIT',
    'config.json': '{}',
    'model.safetensors': 'weights',
    'pytorch_model.bin': 'old weights',
    'onnx/model.onnx': 'onnx',
  };
  const only = { preset: 'all', include: ['*.json', '*.safetensors'], exclude: ['model.*'] } as const;
  let commit: string;

  beforeEach(() => {
    commit = place.hub.addRepo({ id: 'org/name', files, license: 'mit' }).commit;
  });

  it('decide what is fetched, and the lock and the list of files say so', async () => {
    await place.snapshot('org/name', { filter: { ...only, exclude: [] } });

    expect(await tree(commit)).toEqual(['config.json', 'model.safetensors']);
    expect(Object.keys(await readSnapshot(place.cache, folder, commit)).sort()).toEqual(await tree(commit));
    expect(await readLockOf(place)).toMatchObject({
      models: [{ filter: { preset: 'all', include: only.include, exclude: [] }, files: [{}, {}] }],
    });
    expect(place.hub.server.count(/resolve\//)).toBe(2);
  });

  it('of another run on the same commit leave exactly what they say, and fetch nothing twice', async () => {
    await place.snapshot('org/name');
    const before = place.hub.server.requests.length;

    const report = await place.snapshot('org/name', { filter: only });

    expect(Object.keys(await readSnapshot(place.cache, folder, commit))).toEqual(['config.json']);
    expect(await tree(commit)).toEqual(['config.json']);
    expect(report.items[0]).toMatchObject({ state: 'present', detail: { removed: 5 } });
    expect(report.summary[0]).toContain('5 files of an earlier run taken out');
    expect(place.hub.server.requests.length - before).toBe(2);

    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    expect(await tree(commit)).toHaveLength(6);
    expect(place.hub.server.requests.length - before).toBe(4);
  });

  it('of SIE keep licences beside the snapshot', async () => {
    await place.snapshot('org/name', { filter: { preset: 'sie', include: [], exclude: [] } });

    expect(await tree(commit)).toEqual(['config.json', 'model.safetensors']);
    const licence = join(place.directory, 'store/files/licences', folder, commit, 'LICENSE');
    expect(await readFile(licence, 'utf8')).toBe('MIT');
    expect((await readLockOf(place)).models[0]?.notices?.map(({ path }) => path)).toEqual(['LICENSE', 'README.md']);
  });

  it('that fit no file are named, for what they meant would be missed in the zone', async () => {
    place.hub.addRepo({ id: 'org/name', files: { 'config.json': '{}', 'sub/tokenizer.json': '{}' } });
    place.hub.addRepo({ id: 'org/other', files: { 'config.json': '{}', 'model.gguf': 'GGUF' } });
    const include = ['*.json', 'sub/', '*.gguf', '*.safetensor'];
    for (const dryRun of [true, false])
      await place.snapshot(['org/name', 'org/other'], { filter: { preset: 'all', include, exclude: ['*.x'] }, dryRun });
    const warnings = place.events.flatMap((event) => (event.type === 'warning' ? [event.text] : []));
    expect(warnings.map((text) => /`(.*)`/.exec(text)?.[1])).toEqual([
      '--include *.safetensor',
      '--include *.safetensor',
    ]);
  });

  it('that leave nothing are an error, and nothing is written', async () => {
    const report = await place.snapshot('org/name', { filter: { ...only, include: ['*.gguf'] } });

    expect(failureIn(report).error?.code).toBe('E_NOT_FOUND');
    expect(await filesBelow(join(place.directory, 'store'))).toEqual(['.sie-mirror.lock']);
  });

  it('are explained by a dry run, which fetches nothing and makes no store', async () => {
    const report = await place.snapshot('org/name', {
      filter: { preset: 'sie', include: [], exclude: ['*.json'] },
      dryRun: true,
    });

    const detail = report.items[0]?.detail as { files: { path: string; place: string; reason: string }[] } | undefined;
    const listed = detail?.files ?? [];
    expect(Object.fromEntries(listed.map(({ path, place: where }) => [path, where]))).toEqual({
      'README.md': 'notice',
      LICENSE: 'notice',
      'config.json': 'out',
      'model.safetensors': 'snapshot',
      'pytorch_model.bin': 'out',
      'onnx/model.onnx': 'out',
    });
    for (const { path, reason } of listed) {
      expect(reason).not.toBe('');
      expect(report.summary.join('\n')).toContain(path);
      expect(report.summary.join('\n')).toContain(reason);
    }
    expect(report.totals).toMatchObject({ files: 3, bytes: 'weights'.length + 3 + files['README.md'].length });
    expect(place.hub.server.requests).toHaveLength(2);
    expect(await filesBelow(place.directory)).toEqual([]);
  });
});

describe('the lock of a store', () => {
  it('has the sha256 of every file, those outside LFS as well', async () => {
    const files = { 'a.json': '{}', 'model.safetensors': 'weights', empty: '' };
    place.hub.addRepo({ id: 'org/name', files });

    await place.snapshot('org/name');

    const [model] = (await readLockOf(place)).models;
    expect(Object.fromEntries(model?.files.map(({ path, sha256 }) => [path, sha256]) ?? [])).toEqual(
      Object.fromEntries(
        Object.entries(files).map(([path, text]) => [path, createHash('sha256').update(text).digest('hex')]),
      ),
    );
  });

  it('holds files outside LFS to the sha256 that it has, which says more than the hub does', async () => {
    place.hub.addRepo({ id: 'org/name', files: { 'a.json': '{}', 'b.json': '[]' } });
    await place.snapshot('org/name');
    const lock = await readLockOf(place);
    const [file] = lock.models[0]?.files ?? [];
    Object.assign(file ?? {}, { sha256: 'a'.repeat(64) });
    await writeFile(join(place.directory, 'lock.json'), JSON.stringify(lock));

    const report = await pull({ manifest: 'lock.json', store: 'other' }, place.context);

    expect(failureIn(report).error?.code).toBe('E_DIGEST_MISMATCH');
    expect(await filesBelow(join(place.directory, 'other/hub'))).not.toContain(`${folder}/refs/main`);
  });

  it('gathers repos, and forgets a commit that main has left', async () => {
    place.hub.addRepo({ id: 'org/name', files: { a: '1' } });
    place.hub.addRepo({ id: 'org/other', files: { a: '1' } });
    await place.snapshot('org/name');
    await place.snapshot('org/other');
    const { commit } = place.hub.addRepo({ id: 'org/name', files: { a: '2' } });
    await place.snapshot('org/name');

    const { models } = await readLockOf(place);
    expect(models.map(({ repo }) => repo).sort()).toEqual(['org/name', 'org/other']);
    expect(models.find(({ repo }) => repo === 'org/name')?.commit).toBe(commit);
  });
});

describe('several revisions of a repo in one run', () => {
  let older: string;
  let newer: string;

  beforeEach(() => {
    older = place.hub.addRepo({ id: 'org/name', files: { a: '1' }, branches: ['old'], tags: ['v1'] }).commit;
    newer = place.hub.addRepo({ id: 'org/name', files: { a: '2' } }).commit;
  });

  it.each([
    ['org/name', 'org/name@old'],
    ['org/name@old', 'org/name'],
  ])('let `refs/main` lead to main when it was asked for: %s %s', async (...repos) => {
    expect(await place.snapshot(repos)).toMatchObject({ ok: true });
    expect([await ref('main'), await ref('old')]).toEqual([newer, older]);
    expect(await place.snapshot([], { offline: true })).toMatchObject({ ok: true });
  });

  it('let it lead to the first of them when it was not, and leave no commit without a ref', async () => {
    expect(await place.snapshot(['org/name@v1', `org/name@${newer}`])).toMatchObject({ ok: true });
    expect([await ref('main'), await ref('v1'), await ref(newer)]).toEqual([older, older, newer]);
    expect(await place.snapshot([], { offline: true })).toMatchObject({ ok: true });
    await rm(join(place.cache, folder, 'refs', newer));
    expect(failureIn(await place.snapshot([], { offline: true })).error?.code).toBe('E_MISSING');
  });

  it('that are one commit make a snapshot of all that any of them wants', async () => {
    const code = { 'config.json': '{"auto_map":{"AutoModel":"org/code--m.Model"}}' };
    place.hub.addRepo({ id: 'org/user', files: code });
    const { commit } = place.hub.addRepo({ id: 'org/code', files: { 'm.py': '', 'w.bin': 'w' }, tags: ['v2'] });
    expect(await place.snapshot(['org/code@v2', 'org/user'], { companions: true })).toMatchObject({ ok: true });
    const snapshot = join(place.cache, 'models--org--code/snapshots', commit);
    expect((await filesBelow(snapshot)).sort()).toEqual(['m.py', 'w.bin']);
    expect(await place.snapshot([], { offline: true })).toMatchObject({ ok: true });
  });
});
