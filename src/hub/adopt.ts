import { constants, copyFile, link, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { RepoFile } from './repo.ts';

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

/** Makes `to` the same file at the least cost: sharing its blocks, else as a second name of it, else by copying it. */
export async function cloneFile(from: string, to: string): Promise<void> {
  for (const way of [
    () => copyFile(from, to, constants.COPYFILE_FICLONE_FORCE),
    () => link(from, to),
    () => copyFile(from, to),
  ]) {
    try {
      await way();
      return;
    } catch (error) {
      await rm(to, { force: true });
      if (!cannot.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
}

/** What a system answers that cannot do it this way, or not between these two places. */
const cannot = new Set(['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EINVAL', 'ENOTTY', 'EPERM', 'EMLINK', 'EACCES']);
