import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { totalSize } from '../../core/descriptor.ts';
import { MirrorError } from '../../core/errors.ts';
import type { Report, ReportItem } from '../../core/report.ts';
import type { HashPool } from '../../fs/hash-pool.ts';
import { listTree } from '../../fs/tree.ts';
import { repoFolder } from '../../hub/snapshot/cache.ts';
import type { Lock, LockedModel } from '../../manifest/schema.ts';
import { bytesToCheck, checkModel, lockOf, storeHashPool } from './check-store.ts';
import type { Context } from '../context.ts';
import { checkFiles } from '../store/files.ts';
import { type Checked, type Flaw, placeReport, problemOf } from './place-verdict.ts';
import { lockFile } from '../store/store-lock.ts';
import { StoredImages } from './layout.ts';

/**
 * Every byte of a store against its lock: repos with their exact set of files, images from their names down to the last
 * layer, single files. Offline, read-only; nothing is written anywhere.
 * @throws E_NOT_FOUND when there is no store, or no lock in it
 */
export async function verifyStore(directory: string, context: Context): Promise<Report> {
  const store = context.path(directory);
  const lock = await lockOf(store);
  const bytes = bytesToCheck(lock.models, lock.files);
  context.report({ type: 'stage', text: `verifying ${directory}` });
  context.report({ type: 'total', bytes });
  await using pool = storeHashPool(context);
  const models: Checked[] = [];
  for (const model of lock.models) models.push(await checkedModel(model, lock, store, pool, context));
  const stored = new StoredImages(store, pool, context);
  const images = await stored.check(lock.images);
  const files = await checkedFiles(lock, store, pool);
  const unlocked = [...(await reposBeside(lock, store)), ...stored.unlocked].map((name) => `\`${name}\``).join(', ');
  return placeReport({
    checked: directory,
    against: 'the lock',
    facts: { lock: `${lockFile} of ${lock.name}` },
    things: [...models, ...images, ...files],
    loose: stored.flaws,
    reservations: unlocked === '' ? [] : ['MORE THAN THE LOCK SAYS'],
    notes: unlocked === '' ? [] : [`EXTRA  not in the lock, and a bundle of this store would carry it: ${unlocked}`],
    bytes: bytes + stored.bytes,
  });
}

async function checkedModel(
  model: LockedModel,
  lock: Lock,
  store: string,
  pool: HashPool,
  context: Context,
): Promise<Checked> {
  const { type, repo, commit, license, files, notices = [] } = model;
  const name = `${repo}@${commit}`;
  const flaws = (await checkModel(model, lock, store, pool, context)).map(({ path, error, extra }): Flaw => ({
    kind: 'file',
    name: `${name}/${path}`,
    part: path,
    problem: extra ? 'extra' : problemOf(error),
    error,
  }));
  const detail = {
    repo,
    commit,
    ...(license === undefined ? {} : { license }),
    files: files.map(({ path }) => path),
  };
  return { item: { kind: type, name, state: 'done', bytes: totalSize([...files, ...notices]), detail }, flaws };
}

async function checkedFiles(lock: Lock, store: string, pool: HashPool): Promise<Checked[]> {
  const items: ReportItem[] = [];
  await checkFiles(lock.files, items, store, pool);
  return items.map((item): Checked => {
    const { error, name } = item;
    if (!error) return { item: { ...item, state: 'done' }, flaws: [] };
    const { code, message, hint, at } = error;
    const known = new MirrorError(code, message, { ...(hint === undefined ? {} : { hint }), at });
    return {
      item: { kind: 'file', name, state: 'done' },
      flaws: [{ kind: 'file', name, part: name, problem: problemOf(known), error: known }],
    };
  });
}

/** What a ref leads to goes into a bundle; commits that the lock does not name, with the refs that lead to them. */
async function reposBeside(lock: Lock, store: string): Promise<string[]> {
  const hub = join(store, 'hub');
  const folders = (await readdir(hub).catch(() => [])).filter((name) => /^(?:model|dataset|space)s--/.test(name));
  const beside: string[] = [];
  for (const folder of folders.sort()) {
    const locked = lock.models.filter(({ repo, type }) => repoFolder(repo, type) === folder);
    for (const { path } of await listTree(join(hub, folder, 'refs')).catch(() => [])) {
      const commit = await readFile(join(hub, folder, 'refs', path), 'utf8');
      // A ref that names no commit is told of with its repo.
      if (!/^[0-9a-f]{40}$/.test(commit) || locked.some((model) => model.commit === commit)) continue;
      if (locked.length === 0 || path !== 'main') beside.push(`hub/${folder}/refs/${path}`);
    }
  }
  return beside;
}
