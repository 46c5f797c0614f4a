import { createHash } from 'node:crypto';
import {
  appendFile,
  cp,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import type { Context } from '../../src/commands/context.ts';
import { importBundle } from '../../src/commands/import.ts';
import { verify } from '../../src/commands/verify.ts';
import type { Event } from '../../src/core/events.ts';
import type { Report } from '../../src/core/report.ts';
import { RepoCache } from '../../src/hub/snapshot/cache.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { failureIn, type HubPlace, linksOf, readLockOf, readSnapshot, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { placeTool } from '../support/tool.ts';

const folder = 'models--org--name';
const files = {
  'config.json': '{"a":1}',
  'x/copy.json': '{"a":1}',
  'model.safetensors': 'weights of the model',
  'größe.txt': 'x',
  empty: '',
};
const expected = Object.fromEntries(
  Object.entries(files).map(([path, text]) => [path, Buffer.from(text).toString('latin1')]),
);
let place: HubPlace;
let commit: string;

beforeEach(async () => {
  place = await startHubPlace();
  commit = place.hub.addRepo({ id: 'org/name', files }).commit;
});

afterEach(async () => {
  await place.close();
});

const snapshotOf = (cache = place.cache): Promise<Record<string, string>> => readSnapshot(cache, folder, commit);
const stored = (path: string): string => join(place.cache, folder, 'snapshots', commit, path);
const resolves = (): number => place.hub.server.count(/^GET \/org\/name\/resolve\//);

describe('a store that is being sealed', () => {
  it('is not written to meanwhile, may be sealed by another run too, and is not sealed while it is filled', async () => {
    const filler = await place.withEnv({});
    await filler.snapshot('org/name');
    await filler.close();
    const tool = await placeTool(place.directory);
    const own = await testContext({ cwd: place.directory, toolFile: tool });
    const filling = await testContext({ cwd: place.directory });
    const meanwhile: string[] = [];
    const report = async ({ type }: Event): Promise<void> => {
      if (type === 'stage') meanwhile.push(await codeOf(place.snapshot('org/name')));
    };
    const context: Context = { ...own.context, report: (event) => void report(event) };
    const seal = (name: string): Promise<Report> => bundle({ store: 'store', out: '.', name }, context);

    expect(await Promise.all([seal('one'), seal('two')])).toMatchObject([{ ok: true }, { ok: true }]);
    await own.context.close();
    expect(meanwhile).toEqual(['E_REFUSED', 'E_REFUSED']);

    await filling.context.lock(join(place.directory, 'store'));
    const late = await testContext({ cwd: place.directory, toolFile: tool });
    expect(await codeOf(bundle({ store: 'store', out: '.', name: 'three' }, late.context))).toBe('E_REFUSED');
    await filling.context.close();
    expect(await bundle({ store: 'store', out: '.', name: 'three' }, late.context)).toMatchObject({ ok: true });
    await late.context.close();
    expect((await readdir(join(place.directory, 'store'))).filter((name) => name.includes('lock.'))).toEqual([
      'mirror.lock.json',
    ]);
  });
});

describe('what was changed in the store', () => {
  it('is noticed by its size always, and fetched again', async () => {
    await place.snapshot('org/name');
    await truncate(stored('model.safetensors'), 0);
    await rm(stored('config.json'));
    const before = resolves();

    expect(await place.snapshot('org/name')).toMatchObject({ items: [{ state: 'done', detail: { fetched: 1 } }] });

    expect(await snapshotOf()).toEqual(expected);
    expect(resolves() - before).toBe(1);
  });

  it.each(['model.safetensors', 'config.json'])('is noticed by --verify when its size is right: %s', async (path) => {
    await place.snapshot('org/name');
    await writeFile(stored(path), 'y'.repeat(files[path as keyof typeof files].length));

    expect(await place.snapshot('org/name')).toMatchObject({ items: [{ state: 'present' }] });
    expect(await place.snapshot('org/name', { verify: true })).toMatchObject({ items: [{ detail: { fetched: 1 } }] });

    expect(await snapshotOf()).toEqual(expected);
    expect(place.events.filter(({ type }) => type === 'warning')).toHaveLength(1);
  });
});

describe('snapshot --offline', () => {
  const check = (repos: string[] = []): ReturnType<HubPlace['snapshot']> => place.snapshot(repos, { offline: true });

  it('finds a whole store whole, and asks nobody', async () => {
    await place.snapshot('org/name');
    const before = place.hub.server.requests.length;
    for (const repos of [[], ['org/name'], [`org/name@${commit}`]])
      expect(await check(repos)).toMatchObject({ ok: true, items: [{ state: 'present' }], totals: { files: 5 } });
    expect(place.hub.server.requests.length).toBe(before);
  });

  it.each<[string, string, string, () => Promise<void>]>([
    ['a file that is gone', 'model.safetensors', 'E_MISSING', () => rm(stored('model.safetensors'))],
    ['a file that was emptied', 'model.safetensors', 'E_SIZE_MISMATCH', () => truncate(stored('model.safetensors'), 0)],
    [
      'a changed byte',
      'model.safetensors',
      'E_DIGEST_MISMATCH',
      () => writeFile(stored('model.safetensors'), 'Weights of the model'),
    ],
    ['a changed byte outside LFS', 'größe.txt', 'E_DIGEST_MISMATCH', () => writeFile(stored('größe.txt'), 'y')],
    ['a file too many', 'extra.bin', 'E_CORRUPT', () => writeFile(stored('extra.bin'), 'x')],
    [
      'a list that says something else',
      'trees/C.json',
      'E_CORRUPT',
      () => writeFile(join(place.cache, folder, 'trees', `${commit}.json`), '{}'),
    ],
    ['a ref with a newline', 'refs/main', 'E_CORRUPT', () => appendFile(join(place.cache, folder, 'refs/main'), '\n')],
    ['a ref that is gone', 'refs/main', 'E_MISSING', () => rm(join(place.cache, folder, 'refs/main'))],
  ])('names %s', async (_, path, code, damage) => {
    await place.snapshot('org/name');
    await damage();

    const report = await check();

    const failed = report.items.filter(({ state }) => state === 'failed');
    expect(failed.map(({ error }) => error?.code)).toEqual([code]);
    expect(failed[0]?.name).toContain(path.replace('C', commit));
    expect(report.exit).toBe(4);
  });

  it('names a licence beside the snapshot that was changed, which --verify mends', async () => {
    place.hub.addRepo({ id: 'org/licensed', files: { LICENSE: 'MIT', 'config.json': '{}' } });
    const filter = { preset: 'sie', include: [], exclude: [] } as const;
    await place.snapshot('org/licensed', { filter });
    expect(await check()).toMatchObject({ ok: true });
    const [model] = (await readLockOf(place)).models;
    expect(model?.notices?.[0]?.sha256).toBe(createHash('sha256').update('MIT').digest('hex'));
    const licence = join(place.directory, 'store/files/licences/models--org--licensed', model?.commit ?? '', 'LICENSE');
    await writeFile(licence, 'TIM');
    expect(failureIn(await check()).error?.code).toBe('E_DIGEST_MISMATCH');
    await place.snapshot('org/licensed', { filter, verify: true });
    expect(await readFile(licence, 'utf8')).toBe('MIT');
  });

  it('is not deceived by a file that was changed before anything knew its sha256', async () => {
    const filter = { preset: 'sie', include: [], exclude: [] } as const;
    place.hub.addRepo({ id: 'org/licensed', files: { LICENSE: 'MIT', 'config.json': '{}' } });
    await place.snapshot('org/licensed', { filter });
    await rm(join(place.directory, 'store/mirror.lock.json'));
    const changed = ['LICENSE', 'config.json'].map(async (name) => {
      const path = (await filesBelow(join(place.directory, 'store'))).find((each) => each.endsWith(`/${name}`)) ?? '';
      await writeFile(join(place.directory, 'store', path), name === 'LICENSE' ? 'TIM' : '[]');
    });
    await Promise.all(changed);
    expect(await place.snapshot('org/licensed', { filter })).toMatchObject({ ok: true });
    const [model] = (await readLockOf(place)).models;
    const found = [...(model?.files ?? []), ...(model?.notices ?? [])].map(({ sha256 }) => sha256);
    expect(found).toEqual(['{}', 'MIT'].map((text) => createHash('sha256').update(text).digest('hex')));
    expect(await check()).toMatchObject({ ok: true });
  });

  it('needs a lock, and a repo that is in it', async () => {
    expect(await codeOf(check())).toBe('E_NOT_FOUND');
    await place.snapshot('org/name');
    expect(await codeOf(check(['org/other']))).toBe('E_NOT_FOUND');
    expect(await codeOf(check(['org/name@v9']))).toBe('E_NOT_FOUND');
  });
});

describe('a file system without symbolic links', () => {
  it('has real files in its snapshots, which are found again, checked, and carried', async () => {
    const own = await place.withEnv({ HF_HUB_DISABLE_SYMLINKS: '1' });
    expect(await own.snapshot('org/name')).toMatchObject({ ok: true });

    expect(await snapshotOf()).toEqual(expected);
    expect(await linksOf(place.cache, folder, commit)).toEqual([]);
    expect(await filesBelow(join(place.cache, folder, 'blobs'))).toEqual([]);

    const before = resolves();
    expect(await own.snapshot('org/name', { verify: true })).toMatchObject({ items: [{ state: 'present' }] });
    expect(resolves()).toBe(before);
    expect(await own.snapshot([], { offline: true })).toMatchObject({ ok: true });

    await truncate(stored('x/copy.json'), 1);
    expect(await own.snapshot('org/name')).toMatchObject({ ok: true });
    expect(await snapshotOf()).toEqual(expected);

    await own.close();
  });

  it('makes a bundle that comes in as it went out, files that are called like partial ones included', async () => {
    const own = await place.withEnv({ HF_HUB_DISABLE_SYMLINKS: '1' });
    const odd = { ...expected, 'x/config.json.partial': 'not partial', LICENSE: 'mine', 'LICENSE.partial': 'theirs' };
    ({ commit } = place.hub.addRepo({ id: 'org/name', files: { ...files, ...odd, ['__proto__']: 'no prototype' } }));
    await own.snapshot('org/name', { filter: { preset: 'sie', include: [], exclude: [] } });
    expect(await own.snapshot([], { offline: true })).toMatchObject({ ok: true });
    const context = { ...own.context, toolFile: await placeTool(place.directory) };

    expect(await bundle({ store: 'store', out: '.', name: 'b' }, context)).toMatchObject({ ok: true });
    expect(await verify({ bundle: 'b' }, context)).toMatchObject({ ok: true });
    expect(await importBundle({ bundle: 'b', models: 'file:models' }, context)).toMatchObject({ ok: true });

    const { LICENSE: _, 'LICENSE.partial': __, ...inside } = odd;
    expect(await snapshotOf(join(place.directory, 'models'))).toEqual(inside);
    const { blobs } = JSON.parse(await readFile(join(place.directory, 'b/inventory.json'), 'utf8')) as {
      blobs: { path: string }[];
    };
    expect(blobs.map(({ path }) => path)).toContain(`hub/${folder}/snapshots/${commit}/__proto__`);
    const beside = blobs.map(({ path }) => path).filter((path) => path.startsWith('files/'));
    expect(beside.map((path) => basename(path)).sort()).toEqual(['LICENSE', 'LICENSE.partial']);
    await own.close();
  });

  it('loses a file that is called like a partial one when it is no longer wanted', async () => {
    const own = await place.withEnv({ HF_HUB_DISABLE_SYMLINKS: '1' });
    ({ commit } = place.hub.addRepo({ id: 'org/name', files: { ...files, 'a.partial': 'a' } }));
    await own.snapshot('org/name');
    expect(
      await own.snapshot('org/name', { filter: { preset: 'all', include: [], exclude: ['*.partial'] } }),
    ).toMatchObject({ items: [{ detail: { removed: 1 } }] });
    expect(await snapshotOf()).toEqual(expected);
    await own.close();
  });

  it('is noticed by what the system answers', async () => {
    const refuse = (): Promise<void> => Promise.reject(Object.assign(new Error('no links'), { code: 'EPERM' }));
    const cache = new RepoCache(join(place.directory, 'fat'), folder, { symlinks: true, symlink: refuse });
    const [file] = await place.context.hub().files({ type: 'model', repo: 'org/name' }, commit);
    if (!file) throw new Error('nothing is listed');
    const content = place.context.hub().content({ type: 'model', repo: 'org/name' }, commit, file);

    await cache.prepare();
    await cache.receive(file, content, file.path, {});
    await cache.place(commit, [file]);

    expect((await stat(join(place.directory, 'fat', folder, 'snapshots', commit, file.path))).isFile()).toBe(true);
    expect(await linksOf(join(place.directory, 'fat'), folder, commit)).toEqual([]);
  });

  it('gives a store that goes on where there are links', async () => {
    const own = await place.withEnv({ HF_HUB_DISABLE_SYMLINKS: '1' });
    await own.snapshot('org/name');
    await own.close();
    const before = resolves();

    expect(await place.snapshot('org/name')).toMatchObject({ items: [{ state: 'present' }] });
    expect(resolves()).toBe(before);
    await rm(stored('model.safetensors'));
    expect(await place.snapshot('org/name')).toMatchObject({ items: [{ detail: { fetched: 1 } }] });
    expect(await snapshotOf()).toEqual(expected);
  });
});

describe('snapshot --adopt', () => {
  /** Another cache, as huggingface_hub leaves it; what is in `blobs` may be a link to a blob that repos share. */
  async function otherCache(shared = false): Promise<string> {
    await place.snapshot('org/name');
    const other = join(place.directory, 'other');
    await rename(place.cache, other);
    await rm(join(place.directory, 'store'), { recursive: true });
    if (!shared) return other;
    const blobs = join(other, folder, 'blobs');
    for (const name of await filesBelow(blobs)) {
      await mkdir(join(other, 'blobs/ab'), { recursive: true });
      await rename(join(blobs, name), join(other, 'blobs/ab', name));
      await symlink(`../../blobs/ab/${name}`, join(blobs, name));
    }
    return other;
  }

  it.each([
    ['of links to blobs', false],
    ['of links to blobs that are links to shared ones', true],
  ])('takes the files of a cache %s, and fetches none', async (_, shared) => {
    const adopt = await otherCache(shared);
    const before = resolves();

    const report = await place.snapshot('org/name', { adopt });

    expect(report).toMatchObject({ items: [{ state: 'done', bytes: 0, detail: { adopted: 4, fetched: 0 } }] });
    expect(resolves()).toBe(before);
    // What was taken does not hang on the other cache.
    await rm(adopt, { recursive: true });
    expect(await snapshotOf()).toEqual(expected);
    expect(await place.snapshot([], { offline: true })).toMatchObject({ ok: true });
  });

  it('takes the files of a cache without links', async () => {
    const own = await place.withEnv({ HF_HUB_DISABLE_SYMLINKS: '1' });
    await own.snapshot('org/name');
    await own.close();
    const adopt = join(place.directory, 'other');
    await rename(place.cache, adopt);
    const before = resolves();

    await place.snapshot('org/name', { adopt });

    expect(resolves()).toBe(before);
    expect(await snapshotOf()).toEqual(expected);
  });

  it('fetches what has other bytes there, and leaves the other cache as it is', async () => {
    const adopt = await otherCache();
    const wrong = join(adopt, folder, 'snapshots', commit, 'model.safetensors');
    await writeFile(wrong, 'Weights of the model');

    const report = await place.snapshot('org/name', { adopt });

    expect(report).toMatchObject({ ok: true, items: [{ detail: { adopted: 3, fetched: 1 } }] });
    expect(await snapshotOf()).toEqual(expected);
    expect(await readFile(wrong, 'utf8')).toBe('Weights of the model');
  });

  it('fetches what is not there, and does not begin when there is no such cache', async () => {
    const adopt = join(place.directory, 'other');
    expect(await codeOf(place.snapshot('org/name', { adopt }))).toBe('E_NOT_FOUND');
    // What HF_HOME points at, and not HF_HUB_CACHE.
    await mkdir(join(place.directory, 'home/hub'), { recursive: true });
    expect(await codeOf(place.snapshot('org/name', { adopt: join(place.directory, 'home') }))).toBe('E_NOT_FOUND');
    expect(place.hub.server.requests).toEqual([]);
    await mkdir(adopt);
    const report = await place.snapshot('org/name', { adopt });
    expect(report).toMatchObject({ ok: true, items: [{ detail: { fetched: 4 } }] });
  });
});

it('a store that was copied with its links followed is still one', async () => {
  await place.snapshot('org/name');
  const copy = join(place.directory, 'copy');
  await cp(join(place.directory, 'store'), copy, { recursive: true, dereference: true });
  expect(await place.snapshot([], { offline: true, store: 'copy' })).toMatchObject({ ok: true });
});
