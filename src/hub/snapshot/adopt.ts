import { constants, copyFile, link, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { partialSuffix, syncWritten } from '../../fs/atomic.ts';
import { repoFolder } from './cache.ts';
import type { RepoFile, RepoName } from '../repo.ts';

/** What is to be looked for: a repo that was renamed may stand in another cache under either name. */
type Wanted = RepoName & { canonical: string; commit: string };

/**
 * Where another Hugging Face cache has a file, behind all its links: those of newer caches lead to a blob of the repo,
 * which is a link to one that repos share. By size only.
 * @param cache what HF_HUB_CACHE points at
 */
export async function findInCache(cache: string, wanted: Wanted, file: RepoFile): Promise<string | undefined> {
  const { repo, canonical, type, commit } = wanted;
  const folders = [...new Set([repo, canonical])].map((name) => join(cache, repoFolder(name, type)));
  const candidates = folders.flatMap((folder) => [
    join(folder, 'blobs', file.checksum.hex),
    join(folder, 'snapshots', commit, file.path),
  ]);
  for (const path of candidates) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile() && found.size === file.size) return realpath(path);
  }
  return undefined;
}

type Way = (from: string, to: string) => Promise<void>;

/** They take no space: sharing blocks, and a second name. */
const sharing: readonly Way[] = [
  (from, to) => copyFile(from, to, constants.COPYFILE_FICLONE_FORCE),
  (from, to) => link(from, to),
];

/**
 * Makes `to` the same file at the least cost: sharing its blocks, else as a second name of it, else by copying it. Its bytes
 * are on the medium then, which who wrote the first one may not have waited for.
 * @returns false when `from` may not be read
 */
export async function cloneFile(from: string, to: string): Promise<boolean> {
  const isMade = await byAny([...sharing, copyFile], from, to);
  if (isMade) await syncWritten(to);
  return isMade;
}

/** @returns whether one of the ways could be gone */
async function byAny(ways: readonly Way[], from: string, to: string): Promise<boolean> {
  for (const way of ways) {
    try {
      await way(from, to);
      return true;
    } catch (error) {
      await rm(to, { force: true });
      if (!cannot.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return false;
}

/**
 * Tells of files of another cache whether the store can have them without taking any space. Tried once for each file
 * system that they are on.
 */
export function sharedFrom(cache: string, store: string): (plan: Wanted, file: RepoFile) => Promise<boolean> {
  const probe = join(store, `.adopt${partialSuffix}`);
  const known = new Map<number, boolean>();
  return async (plan, file) => {
    const from = await findInCache(cache, plan, file);
    if (from === undefined) return false;
    const { dev } = await stat(from);
    const isShared = known.get(dev) ?? (await byAny(sharing, from, probe));
    await rm(probe, { force: true });
    known.set(dev, isShared);
    return isShared;
  };
}

/** What a system answers that cannot do it this way, or not between these two places. */
const cannot = new Set(['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EINVAL', 'ENOTTY', 'EPERM', 'EMLINK', 'EACCES']);
