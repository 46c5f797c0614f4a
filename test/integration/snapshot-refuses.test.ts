import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { plan } from '../../src/commands/plan.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { failureIn, type HubPlace, readSnapshot, requestsOf, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';

let place: HubPlace;

beforeEach(async () => {
  place = await startHubPlace();
});

afterEach(async () => {
  await place.close();
});

const folder = 'models--org--name';
const ref = (name: string, of = folder): Promise<string> => readFile(join(place.cache, of, 'refs', name), 'utf8');

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

  it.each([
    [403, '', 'the hub refused to give `org/name`; it says: not from this network'],
    [403, 'hf_good', 'the hub refused the token for `org/name`; it says: not from this network'],
    [451, '', 'the hub may not give `org/name`, for legal reasons; it says: not from this network'],
  ])('what the hub does not give: %d, token `%s`', async (status, token, message) => {
    place.hub.addRepo({ id: 'org/name', files: { a: 'a' } });
    place.hub.tokens['hf_good'] = { access: [] };
    const headers = { 'x-error-message': 'not from this network' };
    place.hub.server.faults = () => ({ kind: 'status', status, headers });
    const own = await place.withEnv(token === '' ? {} : { HF_TOKEN: token });
    expect(failureIn(await own.snapshot('org/name')).error).toMatchObject({ code: 'E_AUTH', message });
    await own.close();
  });

  it.each(['config.json', '1_Pooling/config.json'])(
    'a file that is named behind its repo, and fetches nothing: %s',
    async (file) => {
      place.hub.addRepo({ id: 'org/name', files: { 'config.json': '{}', 'model.safetensors': 'large' } });
      for (const dryRun of [false, true]) {
        const { code, hint } = await failureOf(place.snapshot(['org/name', file], { dryRun }));
        expect([code, hint]).toEqual(['E_USAGE', expect.stringContaining(`org/name --include ${file}`)]);
      }
      expect(requestsOf(place).filter((each) => each.includes('/resolve'))).toEqual([]);
      // The hub may have a repo that is called like a file.
      place.hub.addRepo({ id: file, files: { a: 'a' } });
      expect(await place.snapshot(['org/name', file])).toMatchObject({ ok: true, items: [{}, {}] });
    },
  );

  it('a commit that is cut short, and says that it wants all of it', async () => {
    const { commit } = place.hub.addRepo({ id: 'org/name', files: { a: 'a' } });
    const { error } = failureIn(await place.snapshot(`org/name@${commit.slice(0, 7)}`));
    expect(error).toMatchObject({ code: 'E_NOT_FOUND', hint: expect.stringContaining('40') as string });
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
