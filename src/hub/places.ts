import { join } from 'node:path';
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
