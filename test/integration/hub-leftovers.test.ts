import { mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readStore } from '../../src/commands/store/store.ts';
import { pull } from '../../src/commands/pull.ts';
import { startFileServer } from '../support/file-server.ts';
import { type HubPlace, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const size = 1024 * 1024;
const weights = seededBytes('weights', size);
const small = { 'config.json': '{}' };
const files = { ...small, 'model.safetensors': weights };
const repo = 'models--org--name';
const days = 24 * 3600 * 1000;
let place: HubPlace;

beforeEach(async () => {
  place = await startHubPlace();
  place.hub.addRepo({ id: 'org/name', files, branches: ['main', 'v1'] });
});

afterEach(() => place.close());

const store = (path = ''): string => join(place.directory, 'store', path);
const partials = async (): Promise<string[]> => (await filesBelow(store())).filter((path) => path.endsWith('.partial'));
const sent = (): number => place.hub.cdn.requests.reduce((sum, request) => sum + request.sent, 0);
const notes = (): string[] => place.events.flatMap((event) => (event.type === 'note' ? [event.text] : []));

/** A run that ends in the middle of the weights, as a kill would. */
async function broken(request: string): Promise<void> {
  let asked = 0;
  place.hub.cdn.faults = () =>
    ++asked > 1 ? { kind: 'status', status: 404 } : { kind: 'truncate', after: 0.75 * size };
  expect(await place.snapshot(request)).toMatchObject({ ok: false });
  place.hub.cdn.faults = undefined;
  expect(await partials()).toHaveLength(1);
}

/** As if nobody had looked at it since. */
async function age(path: string, ms: number): Promise<void> {
  const then = (Date.now() - ms) / 1000;
  for (const name of await filesBelow(path)) await utimes(join(path, name), then, then);
}

async function leave(path: string, bytes = 5): Promise<void> {
  await mkdir(dirname(store(path)), { recursive: true });
  await writeFile(store(path), Buffer.alloc(bytes));
}

describe('what a killed run left of a file that nobody wants any more', () => {
  it('goes when its branch has moved on, and that is said', async () => {
    await broken('org/name');
    place.hub.addRepo({ id: 'org/name', files: small });

    const report = await place.snapshot('org/name');

    expect(report).toMatchObject({ ok: true, items: [{ detail: { freed: { files: 1, bytes: 0.75 * size } } }] });
    expect(notes()).toContainEqual(expect.stringContaining('768 KiB freed'));
    expect(await partials()).toEqual([]);
    expect((await readdir(join(place.cache, repo))).sort()).toEqual(['blobs', 'refs', 'snapshots', 'trees']);
  });

  it('goes when it is excluded now', async () => {
    await broken('org/name');
    await place.snapshot('org/name', { filter: { preset: 'all', include: [], exclude: ['*.safetensors'] } });
    expect(await partials()).toEqual([]);
  });

  it('goes in whatever form it is', async () => {
    await place.snapshot('org/name');
    const hash = '0123456789abcdef0123456789abcdef01234567';
    const forms = ['ranges', 'journal', 'adopted', 'copy'].map((form) => `hub/${repo}/blobs/${hash}.${form}.partial`);
    const others = [`.names-${hash}.partial/größe`, '.ref.01234567.partial', `trees/${hash}.json.01234567.partial`];
    const notice = `files/licences/${repo}/${'0'.repeat(64)}.partial`;
    for (const path of [...forms, ...others.map((name) => `hub/${repo}/${name}`), notice]) await leave(path);

    expect(await place.snapshot('org/name')).toMatchObject({ items: [{ detail: { freed: { files: 8 } } }] });

    const left = await filesBelow(store());
    expect(left.filter((path) => path.includes('.partial'))).toEqual([]);
    expect(await place.snapshot('org/name')).toMatchObject({ items: [{ detail: { present: 2 } }] });
  });

  it('stays while a run of another revision wants it, which goes on with it; no bundle carries it', async () => {
    await broken('org/name@v1');
    place.hub.addRepo({ id: 'org/name', files: small });
    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    expect(await partials()).toHaveLength(1);
    const { files: carried } = await readStore(store());
    expect(carried.filter(({ path }) => /partial|unfinished/.test(path))).toEqual([]);
    const before = sent();

    const report = await place.snapshot('org/name@v1');

    expect(report).toMatchObject({ ok: true, items: [{ bytes: 0.25 * size }] });
    expect(sent() - before).toBeLessThan(0.5 * size);
    expect(await partials()).toEqual([]);
    expect(await readdir(join(place.cache, repo))).not.toContain('.unfinished');
  });

  it('stays while the run of another repo is as good as to go on, and goes when nobody went on for two weeks', async () => {
    place.hub.addRepo({ id: 'org/other', files: small });
    await broken('org/name');
    await age(store(), 13 * days);
    await place.snapshot('org/other');
    expect(await partials()).toHaveLength(1);
    await age(store(), 15 * days);

    expect(await place.snapshot('org/other')).toMatchObject({ ok: true, items: [{ state: 'present' }] });

    expect(await partials()).toEqual([]);
    // What is whole of it stays.
    expect(await readdir(join(place.cache, repo, 'blobs'))).toHaveLength(1);
    await rm(join(place.cache, repo), { recursive: true });
    await leave(`hub/${repo}/blobs/${'0'.repeat(40)}.partial`);
    await age(store(), 15 * days);
    await place.snapshot('org/other');
    expect(await readdir(place.cache)).toEqual(['models--org--other']);
  });

  it('is not taken for one when it is a file of a repo', async () => {
    const own = await place.withEnv({ HF_HUB_DISABLE_SYMLINKS: '1' });
    const odd = { ...small, [`${'0'.repeat(40)}.partial`]: 'mine', 'LICENSE.partial': 'mine too' };
    const { commit } = place.hub.addRepo({ id: 'org/name', files: odd });
    const filter = { preset: 'sie', include: [], exclude: [] } as const;
    for (let run = 0; run < 2; run += 1) expect(await own.snapshot('org/name', { filter })).toMatchObject({ ok: true });
    await age(store(), 15 * days);
    expect(await own.snapshot('org/name', { filter })).toMatchObject({ items: [{ state: 'present' }] });
    expect((await stat(join(place.cache, repo, 'snapshots', commit, `${'0'.repeat(40)}.partial`))).size).toBe(4);
    expect((await stat(store(`files/licences/${repo}/${commit}/LICENSE.partial`))).size).toBe(8);
    await own.close();
  });

  it('goes for single files when the lock does not name them, once all that it names is there', async () => {
    const server = await startFileServer({ '/a.txt': 'a' });
    const url = (name: string): string => `${server.url}/${name}`;
    const pulled = async (names: string[]): Promise<boolean> => {
      const manifest = { apiVersion: 'sie-mirror/v1', kind: 'MirrorManifest', metadata: { name: 'x' } };
      const all = { ...manifest, files: names.map((name) => ({ url: url(name) })) };
      await writeFile(join(place.directory, 'm.yaml'), JSON.stringify(all));
      return (await pull({ manifest: 'm.yaml', store: 'store' }, place.context)).ok;
    };
    for (const name of ['a.txt', 'gone.txt']) await leave(`files/${name}.partial`);

    expect(await pulled(['a.txt', 'none.txt'])).toBe(false);
    expect(await partials()).toEqual(['files/gone.txt.partial']);
    expect(await pulled(['a.txt'])).toBe(true);

    expect(await filesBelow(store('files'))).toEqual(['a.txt']);
    await server.close();
  });
});
