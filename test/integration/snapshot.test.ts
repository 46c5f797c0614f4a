import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { plan } from '../../src/commands/plan.ts';
import { pull } from '../../src/commands/pull.ts';
import { codeOf } from '../support/failures.ts';
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

  it('thousands of files on several pages, by two listing calls more than pages and one GET a file', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 2500 }, (_, index) => [`d${index % 7}/f${index}`, `bytes ${index}`]),
    );
    const { commit } = place.hub.addRepo({ id: 'org/name', files });

    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });

    expect(await tree(commit)).toHaveLength(2500);
    const { server } = place.hub;
    expect(server.count(/^GET \/api\/models\/org\/name\/revision/)).toBe(1);
    expect(server.count(/^GET \/api\/models\/org\/name\/tree/)).toBe(3);
    expect(server.count(/^GET \/org\/name\/resolve/)).toBe(2500);
  }, 120_000);
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

describe('snapshot refuses', () => {
  it.each([
    ['an unknown repo', 'no/such', 'E_NOT_FOUND'],
    ['an unknown revision', 'org/name@v9', 'E_NOT_FOUND'],
    ['a disabled repo', 'org/disabled', 'E_AUTH'],
    ['an empty repo', 'org/empty', 'E_NOT_FOUND'],
    ['names that leave the tree', 'org/hostile', 'E_CORRUPT'],
  ])('%s', async (_, repo, code) => {
    place.hub.addRepo({ id: 'org/name', files: { a: 'a' } });
    place.hub.addRepo({ id: 'org/disabled', files: { a: 'a' }, disabled: true });
    place.hub.addRepo({ id: 'org/empty', files: {} });
    place.hub.addRepo({ id: 'org/hostile', files: { a: 'a', '../../../evil': 'x' } });

    const report = await place.snapshot([repo, 'org/name']);

    expect(failureIn(report).error?.code).toBe(code);
    // The others are fetched all the same.
    expect(await ref('main')).toHaveLength(40);
  });

  it.each(['no/such', 'org/secret'])('an unknown or private repo for a token that is good: %s', async (repo) => {
    place.hub.tokens['hf_good'] = { access: [] };
    place.hub.addRepo({ id: 'org/secret', files: { a: 'a' }, private: true });
    const own = await place.withEnv({ HF_TOKEN: 'hf_good' });
    expect(failureIn(await own.snapshot(repo)).error?.code).toBe('E_NOT_FOUND');
    await own.close();
  });

  it('a listing that names a file twice, or below another file', async () => {
    place.hub.addRepo({ id: 'org/name', files: { a: 'a' } });
    const entry = (path: string): object => ({ type: 'file', path, size: 1, oid: '0'.repeat(40) });
    for (const paths of [
      ['a', 'a'],
      ['a', 'a/b'],
    ]) {
      const body = JSON.stringify(paths.map(entry));
      const headers = { 'content-type': 'application/json' };
      place.hub.server.faults = ({ path }) =>
        path.includes('/tree/') ? { kind: 'status', status: 200, headers, body } : undefined;
      expect(failureIn(await place.snapshot('org/name')).error?.code).toBe('E_CORRUPT');
    }
  });

  it('a commit in place of another one that was asked for', async () => {
    const { commit } = place.hub.addRepo({ id: 'org/name', files: { a: 'old' } });
    const { commit: other } = place.hub.addRepo({ id: 'org/name', files: { a: 'new' } });
    const body = JSON.stringify({ _id: '0', id: 'org/name', sha: other, tags: [], gated: false });
    const headers = { 'content-type': 'application/json' };
    place.hub.server.faults = ({ path }) =>
      path.includes('/revision/') ? { kind: 'status', status: 200, headers, body } : undefined;
    expect(failureIn(await place.snapshot(`org/name@${commit}`)).error?.code).toBe('E_PROTOCOL');
    expect(await place.snapshot('org/name@main')).toMatchObject({ ok: true });
  });

  it('a name that no file can have on every system, unless that file is not wanted', async () => {
    const files = { 'config.json': '{}', 'onnx\\model.onnx': 'weights' };
    const { commit } = place.hub.addRepo({ id: 'org/name', files });

    const { error } = failureIn(await place.snapshot('org/name'));

    expect(error).toMatchObject({ code: 'E_CORRUPT', hint: expect.stringContaining('--exclude') as string });
    expect(requestsOf(place).filter((each) => each.includes('/resolve'))).toEqual([]);
    const filter = { preset: 'all', include: [], exclude: ['onnx\\model.onnx'] } as const;
    expect(await place.snapshot('org/name', { filter })).toMatchObject({ ok: true });
    expect(await readSnapshot(place.cache, folder, commit)).toEqual({ 'config.json': '{}' });
  });

  it('a name with a line break, and says a pattern that leaves it out', async () => {
    const { commit } = place.hub.addRepo({ id: 'org/name', files: { 'config.json': '{}', "it's\n[1].txt": 'x' } });
    const { error } = failureIn(await place.snapshot('org/name'));
    const [, pattern = ''] = /--exclude '(.*)'/.exec(error?.hint ?? '') ?? [];
    const filter = { preset: 'all', include: [], exclude: [pattern] } as const;
    expect(await place.snapshot('org/name', { filter })).toMatchObject({ ok: true });
    expect(await readSnapshot(place.cache, folder, commit)).toEqual({ 'config.json': '{}' });
  });

  it('a file that the hub lists and does not give', async () => {
    place.hub.addRepo({ id: 'org/name', files: { 'a.json': '{}', 'b.json': '{"b":1}' } });
    place.hub.server.faults = ({ path }) =>
      path.includes('/resolve/') && path.endsWith('b.json') ? { kind: 'status', status: 404 } : undefined;
    const { error } = failureIn(await place.snapshot('org/name'));
    expect(error).toMatchObject({ code: 'E_NOT_FOUND', message: expect.stringContaining('b.json') as string });
    expect(error?.message).not.toContain('private');
  });

  it('a token that the hub does not know', async () => {
    place.hub.addRepo({ id: 'org/name', files: { a: 'a' } });
    const own = await place.withEnv({ HF_TOKEN: 'hf_unknown' });
    expect(failureIn(await own.snapshot('org/name')).error?.code).toBe('E_AUTH');
    await own.close();
  });

  it('a hub that answers HTML', async () => {
    place.hub.addRepo({ id: 'org/name', files: { a: 'a' } });
    const html = { 'content-type': 'text/html; charset=utf-8' };
    place.hub.server.faults = () => ({ kind: 'status', status: 200, headers: html, body: '<html>Log in</html>' });
    expect(failureIn(await place.snapshot('org/name')).error?.code).toBe('E_PROTOCOL');
  });

  it('a page of HTML instead of a file, and keeps nothing of it', async () => {
    place.hub.addRepo({ id: 'org/name', files: { 'config.json': '{}' } });
    const html = { 'content-type': 'text/html; charset=utf-8' };
    place.hub.server.faults = ({ path }) =>
      path.includes('/resolve/')
        ? { kind: 'status', status: 200, headers: html, body: '<html>Log in</html>' }
        : undefined;
    const { error } = failureIn(await place.snapshot('org/name'));
    expect(error).toMatchObject({ code: 'E_SIZE_MISMATCH', hint: expect.stringContaining('proxy') as string });
    const left = await filesBelow(place.cache);
    expect(left.filter((path) => !path.includes('/.unfinished/'))).toEqual([]);
  });

  it('to begin when there is no space for what is still to come', async () => {
    place.hub.addRepo({
      id: 'org/name',
      files: { 'a.bin': 'small', 'b.json': '{}' },
      declaredSizes: { 'a.bin': 2 ** 52 },
    });
    expect(await codeOf(place.snapshot('org/name'))).toBe('E_NO_SPACE');
    expect(place.hub.server.count(/resolve/)).toBe(0);
  });

  it.each(['a b', '../up', 'org/name@', 'a/b/c', 'a--b/c', 'org/name@a..b', 'org/name@/x', 'org/x.git'])(
    'what is no repo: %s',
    async (repo) => {
      expect(await codeOf(place.snapshot(repo))).toBe('E_USAGE');
    },
  );

  it('a mirror manifest that names a repo twice', async () => {
    const models = `[{ repo: org/name, filter: sie }, { repo: org/name, filter: all }]`;
    const manifest = `apiVersion: sie-mirror/v1\nkind: MirrorManifest\nmetadata: { name: x }\nmodels: ${models}\n`;
    await writeFile(join(place.directory, 'm.yaml'), manifest);
    expect(await codeOf(plan({ manifest: 'm.yaml', out: 'l.json' }, place.context))).toBe('E_MANIFEST');
  });

  it('to do nothing', async () => {
    expect(await codeOf(place.snapshot([]))).toBe('E_USAGE');
  });
});
