import { watch } from 'node:fs';
import { mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf } from '../support/failures.ts';
import { type HubPlace, readSnapshot, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { waitFor } from '../support/wait.ts';

const folder = 'models--org--name';
const files = { 'a.txt': 'a' };
let place: HubPlace;

beforeEach(async () => {
  place = await startHubPlace();
  place.hub.addRepo({ id: 'org/name', files });
});

afterEach(async () => {
  await place.close();
});

describe('below refs', () => {
  const refs = (): string => join(place.cache, folder, 'refs');

  it('nothing ever stands but refs: readers drop a repo with anything else there, as a kill would leave it', async () => {
    await place.snapshot('org/name');
    const { commit: next } = place.hub.addRepo({ id: 'org/name', files: { ...files, 'b.txt': 'b' } });
    const seen = new Set<string>();
    const watcher = watch(refs(), (_, name) => seen.add(name ?? ''));
    await place.snapshot('org/name');
    await writeFile(join(refs(), 'end'), '');
    await waitFor('all of it was told', () => seen.has('end'));
    watcher.close();

    expect([...seen].sort()).toEqual(['end', 'main']);
    expect(await readFile(join(refs(), 'main'), 'utf8')).toBe(next);
  });

  it('what an earlier version left there when it was killed goes', async () => {
    await place.snapshot('org/name');
    await mkdir(join(refs(), 'refs/pr'), { recursive: true });
    for (const name of ['main.0123abcd.partial', 'refs/pr/1.0123abcd.partial']) await writeFile(join(refs(), name), '');
    await place.snapshot('org/name');
    expect(await filesBelow(refs())).toEqual(['main']);
  });

  it('a directory where a ref has to stand is refused, and named', async () => {
    place.hub.addRepo({ id: 'org/name', files, branches: ['main', 'v1'] });
    await mkdir(join(refs(), 'v1/x'), { recursive: true });
    const error = await failureOf(place.snapshot('org/name@v1'));
    expect(error).toMatchObject({ code: 'E_PATH', message: expect.stringContaining(`${refs()}/v1\``) as string });
    expect(error.hint).toBeDefined();
  });
});

it('links are relative, one step further up for each folder, so that the cache can be moved', async () => {
  const { commit } = place.hub.addRepo({ id: 'org/deep', files: { 'a.json': '1', 'x/b.json': '2', 'x/y/c.bin': '3' } });
  await place.snapshot('org/deep');
  const snapshot = join(place.cache, 'models--org--deep/snapshots', commit);
  const targets = await Promise.all(['a.json', 'x/b.json', 'x/y/c.bin'].map((path) => readlink(join(snapshot, path))));
  expect(targets.map((target) => target.replace(/[0-9a-f]{40,64}$/, (hex) => `${hex.length}`))).toEqual([
    '../../blobs/40',
    '../../../blobs/40',
    '../../../../blobs/64',
  ]);
});

it('nothing but blobs, snapshots, refs and lists of files is left in a repo of the cache', async () => {
  await place.snapshot('org/name');
  expect((await readdir(join(place.cache, folder))).sort()).toEqual(['blobs', 'refs', 'snapshots', 'trees']);
  expect(await readdir(place.cache)).toEqual([folder]);
});

describe('another revision', () => {
  const shared = { 'a.txt': 'a', 'x/model.safetensors': 'weights', empty: '' };
  const resolves = (): number => place.hub.server.count(/^GET \/org\/name\/resolve\//);

  const withoutLinks = { HF_HUB_DISABLE_SYMLINKS: '1' };

  it.each([
    ['with links', {}, {}],
    ['without links', withoutLinks, withoutLinks],
    ['that had no links before', withoutLinks, {}],
  ])('brings only what is not there of the others, in a store %s', async (_, before, env) => {
    const first = await place.withEnv(before);
    place.hub.addRepo({ id: 'org/name', files: shared });
    await first.snapshot('org/name');
    await first.close();
    const own = await place.withEnv(env);
    const next = { ...shared, 'b.txt': 'b', 'y/again.safetensors': 'weights' };
    const { commit } = place.hub.addRepo({ id: 'org/name', files: next, tags: ['v2'] });
    const asked = resolves();

    const report = await own.snapshot('org/name@v2');

    expect(report).toMatchObject({ ok: true, items: [{ bytes: 1, detail: { fetched: 1, present: 3 } }] });
    expect(resolves() - asked).toBe(1);
    expect(await readSnapshot(own.cache, folder, commit)).toEqual(next);
    expect(await own.snapshot([], { offline: true })).toMatchObject({ ok: true });
    await own.close();
  });

  it('takes nothing of another one that was changed since', async () => {
    const own = await place.withEnv(withoutLinks);
    const { commit: old } = place.hub.addRepo({ id: 'org/name', files: shared });
    await own.snapshot('org/name');
    await writeFile(join(own.cache, folder, 'snapshots', old, 'x/model.safetensors'), 'WEIGHTS');
    const { commit } = place.hub.addRepo({ id: 'org/name', files: { ...shared, 'b.txt': 'b' } });

    expect(await own.snapshot('org/name')).toMatchObject({ items: [{ detail: { fetched: 2 } }] });

    expect(await readSnapshot(own.cache, folder, commit)).toEqual({ ...shared, 'b.txt': 'b' });
    await own.close();
  });
});

it.each(['all', 'sie'] as const)(
  'progress comes to its end, whether files are there or not: --filter %s',
  async (preset) => {
    place.hub.addRepo({
      id: 'org/name',
      files: { 'a.json': '1', 'x/a.json': '1', 'b.bin': 'bin', LICENSE: 'mine', empty: '' },
    });
    for (let run = 0; run < 2; run += 1) {
      const from = place.events.length;
      await place.snapshot('org/name', { filter: { preset, include: [], exclude: [] } });
      const events = place.events.slice(from);
      const sum = (type: 'total' | 'bytes'): number =>
        events.reduce((all, event) => all + (event.type === type ? event.bytes : 0), 0);
      expect(sum('total')).toBe(8);
      expect(sum('bytes')).toBe(8);
    }
  },
);
