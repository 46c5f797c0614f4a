import fs, { chmod, mkdir, readdir, rename, rm, symlink, truncate } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { failureOf } from '../support/failures.ts';
import { type HubPlace, readSnapshot, startHubPlace } from '../support/hub-store.ts';

const folder = 'models--org--name';
const files = { 'config.json': '{"a":1}', 'model.safetensors': 'weights of the model' };
let place: HubPlace;
let commit: string;
/** Another cache, and the blob of the weights in it. */
let adopt: string;
let blob: string;

beforeEach(async () => {
  place = await startHubPlace();
  ({ commit } = place.hub.addRepo({ id: 'org/name', files, movedFrom: ['old/name'] }));
  await place.snapshot('org/name');
  adopt = join(place.directory, 'other');
  await rename(place.cache, adopt);
  await rm(join(place.directory, 'store'), { recursive: true });
  const blobs = join(adopt, folder, 'blobs');
  blob = join(blobs, (await readdir(blobs)).find((name) => name.length === 64) ?? '');
});

afterEach(async () => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
  await place.close();
});

const warnings = (): string[] => place.events.flatMap((event) => (event.type === 'warning' ? [event.text] : []));

it.each<[string, () => Promise<unknown>]>([
  ['is gone, so that its links lead nowhere', () => rm(blob)],
  ['was emptied', () => truncate(blob, 0)],
  ['is a directory', async () => (await rm(blob), await mkdir(blob))],
  ['is a link to itself', async () => (await rm(blob), await symlink(blob, blob))],
])('a blob of another cache that %s is fetched, and the rest is taken', async (_, spoil) => {
  await spoil();
  const report = await place.snapshot('org/name', { adopt });
  expect(report).toMatchObject({ ok: true, items: [{ detail: { adopted: 1, fetched: 1 } }] });
  expect(await readSnapshot(place.cache, folder, commit)).toEqual(files);
});

it('one repo of a cache is no cache to adopt from', async () => {
  const { code, hint } = await failureOf(place.snapshot('org/name', { adopt: join(adopt, folder) }));
  expect([code, hint]).toEqual(['E_NOT_FOUND', expect.stringContaining(`--adopt ${adopt}`)]);
});

it('a blob of another cache that may not be read is fetched, and that is said', async () => {
  await chmod(blob, 0);
  const refuse = async (path: unknown): Promise<void> => {
    if (path === blob) throw Object.assign(new Error('permission denied'), { code: 'EACCES' });
  };
  // Who runs the tests may be allowed to read everything.
  for (const name of ['copyFile', 'link'] as const) {
    const real = fs[name] as (...args: unknown[]) => Promise<void>;
    vi.spyOn(fs, name).mockImplementation(async (...args: unknown[]) => (await refuse(args[0]), await real(...args)));
  }
  syncBuiltinESMExports();

  const report = await place.snapshot('org/name', { adopt });

  expect(report).toMatchObject({ ok: true, items: [{ detail: { adopted: 1, fetched: 1 } }] });
  expect(warnings()).toEqual([expect.stringContaining('cannot be read; it is fetched')]);
});

it('a repo that was renamed is found in another cache under the name that it has now', async () => {
  const report = await place.snapshot('old/name', { adopt });
  expect(report).toMatchObject({ ok: true, items: [{ detail: { adopted: 2, fetched: 0 } }] });
  expect(await readSnapshot(place.cache, 'models--old--name', commit)).toEqual(files);
});
