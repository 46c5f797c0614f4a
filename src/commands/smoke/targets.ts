import { inBackticks } from '../../core/text.ts';
import { MirrorError } from '../../core/errors.ts';
import { sameButCase, servedAs, weightsOf } from '../../sie/model-names.ts';
import type { SieModel } from '../../sie/models.ts';
import type { Context } from '../context.ts';
import { readHoldings } from '../records/holdings.ts';

/** What was mirrored: commits by repo. */
export type Mirrored = ReadonlyMap<string, string>;

/** @param path receipt, lock, inventory or bundle @throws E_NOT_FOUND, E_CORRUPT, E_USAGE */
export async function readMirrored(path: string, context: Context): Promise<Mirrored> {
  const { repos } = await readHoldings(path, {}, context);
  return new Map(repos.filter(({ kind }) => kind === 'model').map(({ repo, commit }) => [repo, commit]));
}

/** The commit that has to answer for one model; undefined when nothing says so. @throws E_NOT_FOUND */
export function commitOf(mirrored: Mirrored | undefined, model: string, path: string): string | undefined {
  if (!mirrored) return undefined;
  const repo = weightsOf(model);
  const commit = mirrored.get(repo);
  if (commit !== undefined) return commit;
  const why = repo === model ? '' : `, whose weights are those of \`${repo}\``;
  throw new MirrorError('E_NOT_FOUND', `\`${path}\` names no model \`${model}\`${why}`, {
    hint: `it has ${inBackticks([...mirrored.keys()])}`,
  });
}

/** What was mirrored, by what the cluster makes of it. */
export interface Matched {
  /** By the id that the cluster serves. */
  models: { id: string; repo: string; commit: string | undefined }[];
  /** Companions, or models that are not configured there. */
  unknown: string[];
  /** Served in another case: for the cluster that is another model. */
  otherCase: { repo: string; id: string }[];
}

/** The ids under which the cluster serves what was mirrored. */
export function matchKnown(mirrored: Mirrored, known: readonly SieModel[]): Matched {
  const matched: Matched = { models: [], unknown: [], otherCase: [] };
  for (const repo of [...mirrored.keys()].sort()) {
    const ids = servedAs(repo, known);
    const other = ids.length === 0 ? sameButCase(repo, known) : undefined;
    for (const id of ids) matched.models.push({ id, repo, commit: mirrored.get(weightsRepo(id, repo)) });
    if (other !== undefined) matched.otherCase.push({ repo, id: other });
    else if (ids.length === 0) matched.unknown.push(repo);
  }
  return matched;
}

/** Of an alias nobody knows the repo: it is what led there. */
function weightsRepo(id: string, repo: string): string {
  return id === repo ? weightsOf(id) : repo;
}
