import { MirrorError } from '../../core/errors.ts';
import type { SieModel } from '../../sie/models.ts';
import type { Context } from '../context.ts';
import { type Holdings, readHoldings } from '../holdings.ts';

/** What was mirrored: commits by repo. */
export type Mirrored = ReadonlyMap<string, string>;

/** @param path receipt, lock, inventory or bundle @throws E_NOT_FOUND, E_CORRUPT, E_USAGE */
export async function readMirrored(path: string, context: Context): Promise<Mirrored> {
  const { models }: Holdings = await readHoldings(path, { keys: undefined, require: undefined }, context);
  return new Map([...models].map(([repo, { commit }]) => [repo, commit]));
}

/** The commit that has to answer for one model; undefined when nothing says so. @throws E_NOT_FOUND */
export function commitOf(mirrored: Mirrored | undefined, model: string, path: string): string | undefined {
  if (!mirrored) return undefined;
  const commit = mirrored.get(model);
  if (commit !== undefined) return commit;
  throw new MirrorError('E_NOT_FOUND', `\`${path}\` names no model \`${model}\``, {
    hint: `it has ${[...mirrored.keys()].map((repo) => `\`${repo}\``).join(', ') || 'none'}`,
  });
}

/** Which of the mirrored repos are models of the cluster; the others are companions, or were not configured. */
export function splitKnown(mirrored: Mirrored, known: readonly SieModel[]): { models: string[]; unknown: string[] } {
  const ids = new Set(known.map(({ id }) => id));
  const repos = [...mirrored.keys()].sort();
  return { models: repos.filter((repo) => ids.has(repo)), unknown: repos.filter((repo) => !ids.has(repo)) };
}
