import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { partialSuffix } from '../fs/atomic.ts';
import { RepoCache, repoFolder } from './snapshot/cache.ts';
import type { RepoFile, RepoName } from './repo.ts';

/** The repo's part of the store. */
export function cacheOf(store: string, name: RepoName, symlinks: boolean): RepoCache {
  return new RepoCache(join(store, 'hub'), repoFolder(name.repo, name.type), { symlinks });
}

/** Below `files/` of the store. */
export const licencesFolder = 'licences';

/** Where the licences and model cards of a repo are that are no part of a snapshot. */
export function noticesOf(store: string, { repo, type }: RepoName): string {
  return noticesIn(store, repoFolder(repo, type));
}

/** The same by the folder that the repo has in the cache. */
export function noticesIn(store: string, folder: string): string {
  return join(store, 'files', licencesFolder, folder);
}

/** Where one of them goes. */
export function noticePath(store: string, of: RepoName & { commit: string }, file: RepoFile): string {
  return join(noticesOf(store, of), of.commit, file.path);
}

/** Where it is received: a licence may have any name, that of another one's partial file too. */
export function noticePartial(store: string, of: RepoName & { commit: string }, { path }: RepoFile): string {
  const name = createHash('sha256').update(`${of.commit}/${path}`).digest('hex');
  return join(noticesOf(store, of), `${name}${partialSuffix}`);
}
