import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { partialSuffix } from '../fs/atomic.ts';
import { RepoCache, repoFolder } from './cache.ts';
import type { RepoFile, RepoName } from './repo.ts';

/** The repo's part of the store. */
export function cacheOf(store: string, name: RepoName, symlinks: boolean): RepoCache {
  return new RepoCache(join(store, 'hub'), repoFolder(name.repo, name.type), { symlinks });
}

/** Below `files/` of the store. */
export const licencesFolder = 'licences';

/** Where a licence or model card goes that is no part of a snapshot. */
export function noticePath(store: string, of: RepoName & { commit: string }, file: RepoFile): string {
  return join(store, 'files', licencesFolder, repoFolder(of.repo, of.type), of.commit, file.path);
}

/** Where it is received: a licence may have any name, that of another one's partial file too. */
export function noticePartial(store: string, of: RepoName & { commit: string }, { path }: RepoFile): string {
  const name = createHash('sha256').update(`${of.commit}/${path}`).digest('hex');
  return join(store, 'files', licencesFolder, repoFolder(of.repo, of.type), `${name}${partialSuffix}`);
}
