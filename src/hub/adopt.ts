import { constants, copyFile, link, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { copyFileSynced, partialSuffix } from '../fs/atomic.ts';
import { repoFolder } from './cache.ts';
import type { RepoFile, RepoName } from './repo.ts';

/**
 * Where another Hugging Face cache has a file, behind all its links: those of newer caches lead to a blob of the repo,
 * which is a link to one that repos share. By size only.
 * @param cache what HF_HUB_CACHE points at
 */
export async function findInCache(
  cache: string,
  folder: string,
  commit: string,
  file: RepoFile,
): Promise<string | undefined> {
  const candidates = [
    join(cache, folder, 'blobs', file.checksum.hex),
    join(cache, folder, 'snapshots', commit, file.path),
  ];
  for (const path of candidates) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile() && found.size === file.size) return realpath(path);
  }
  return undefined;
}

type Way = (from: string, to: string) => Promise<void>;

/** They take no space: sharing blocks, and a second name. */
const sharing: readonly Way[] = [(from, to) => copyFile(from, to, constants.COPYFILE_FICLONE_FORCE), link];

/** Makes `to` the same file at the least cost: sharing its blocks, else as a second name of it, else by copying it. */
export async function cloneFile(from: string, to: string): Promise<void> {
  await byAny([...sharing, copyFileSynced], from, to);
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
export function sharedFrom(
  cache: string,
  store: string,
): (plan: RepoName & { commit: string }, file: RepoFile) => Promise<boolean> {
  const probe = join(store, `.adopt${partialSuffix}`);
  const known = new Map<number, boolean>();
  return async ({ repo, type, commit }, file) => {
    const from = await findInCache(cache, repoFolder(repo, type), commit, file);
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
