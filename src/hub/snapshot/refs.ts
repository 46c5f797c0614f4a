import { isCommit, type RepoRequest } from '../repo.ts';

/**
 * Loaders ask for `main` whatever was asked for here. A commit needs no ref of its own where `main` leads to it; where it
 * does not, one of its own name says that its snapshot is whole.
 */
export function refsOf({ revision }: RepoRequest, isMain = true): string[] {
  if (!isMain) return [revision];
  return isCommit(revision) ? ['main'] : [...new Set([revision, 'main'])];
}

/** Of several revisions of one repo, whether `refs/main` leads to this one: `main` when it was asked for, else the first. */
export function isMainOf(plan: RepoRequest, plans: readonly RepoRequest[]): boolean {
  const same = plans.filter(({ type, repo }) => type === plan.type && repo === plan.repo);
  const main = same.find(({ revision }) => revision === 'main') ?? same[0];
  return main === undefined || main.revision === plan.revision;
}
