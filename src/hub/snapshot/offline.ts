import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { endsRun, type ErrorCode, MirrorError, toMirrorError } from '../../core/errors.ts';
import { forEachLimited } from '../../core/limit.ts';
import type { HashPool } from '../../fs/hash-pool.ts';
import { listTree } from '../../fs/tree.ts';
import { repoFolder } from './cache.ts';
import { noticePath } from '../places.ts';
import { hasRightBytes } from './proof.ts';
import { refsOf } from './refs.ts';
import type { RepoFile } from '../repo.ts';
import type { SnapshotPlan } from './snapshot-plan.ts';
import { treeDocument } from './tree-document.ts';

/** Something of a stored snapshot that is not as its plan says. */
export interface Flaw {
  path: string;
  /** It is there, and should not be. */
  extra: boolean;
  error: MirrorError;
}

/**
 * Compares what is stored of a repo with its plan: every byte of every file, those beside it included, the exact set of files, the list of them,
 * and the refs. Asks nobody.
 * @param commits of the repo that its `refs/main` may name
 */
export async function findFlaws(
  store: string,
  plan: SnapshotPlan,
  commits: readonly string[],
  options: { pool: HashPool; slots: number; signal?: AbortSignal | undefined },
): Promise<Flaw[]> {
  const folder = join(store, 'hub', repoFolder(plan.repo, plan.type));
  const snapshot = join(folder, 'snapshots', plan.commit);
  const flaws: Flaw[] = [];
  const add = (code: ErrorCode, path: string, text: string, extra = false): void => {
    const hint = `run \`sie-mirror snapshot ${plan.repo}@${plan.revision}${plan.type === 'model' ? '' : ` --type ${plan.type}`} --verify\` where the hub can be reached`;
    const at = { side: 'source', item: `${plan.repo}/${path}` } as const;
    flaws.push({
      path,
      extra,
      error: new MirrorError(code, `\`${plan.repo}/${path}\` at \`${plan.commit}\` ${text}`, { hint, at }),
    });
  };
  await forEachLimited(plan.files, options.slots, async (file) => {
    const flaw = await flawOf(join(snapshot, file.path), file, options);
    if (flaw) add(flaw.code, file.path, flaw.text);
  });
  await forEachLimited(plan.notices ?? [], options.slots, async (file) => {
    const flaw = await flawOf(noticePath(store, plan, file), file, options);
    if (flaw) add(flaw.code, file.path, flaw.text);
  });
  const wanted = new Set(plan.files.map(({ path }) => path));
  for (const { path } of await listTree(snapshot, () => false).catch(() => []))
    if (!wanted.has(path)) add('E_CORRUPT', path, 'is in the store, and not in the lock', true);
  const tree = `trees/${plan.commit}.json`;
  if ((await readText(join(folder, tree))) !== treeDocument(plan.files))
    add('E_CORRUPT', tree, 'does not list the files of the lock');
  const main = await readText(join(folder, 'refs/main'));
  for (const ref of new Set(['main', ...refsOf(plan, main === plan.commit)])) {
    const found = ref === 'main' ? main : await readText(join(folder, 'refs', ref));
    const isRight = ref === 'main' ? commits.includes(found ?? '') : found === plan.commit;
    if (!isRight) add(found === undefined ? 'E_MISSING' : 'E_CORRUPT', `refs/${ref}`, refText(found));
  }
  return flaws.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function flawOf(
  path: string,
  file: RepoFile,
  { pool, signal }: { pool: HashPool; signal?: AbortSignal | undefined },
): Promise<{ code: ErrorCode; text: string } | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) return { code: 'E_MISSING', text: 'is missing in the store' };
  if (found.size !== file.size)
    return { code: 'E_SIZE_MISMATCH', text: `has ${found.size} bytes, the lock says ${file.size}` };
  try {
    if (await hasRightBytes(path, file, () => pool, signal)) return undefined;
    return { code: 'E_DIGEST_MISMATCH', text: 'has other bytes than the lock says' };
  } catch (error) {
    // One file that cannot be read says nothing of the others.
    const known = toMirrorError(error);
    if (endsRun(known)) throw error;
    return { code: known.code, text: `cannot be read: ${known.message}` };
  }
}

function refText(found: string | undefined): string {
  return found === undefined ? 'is missing in the store' : 'names another commit than the lock';
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
