import { totalSize } from '../../core/descriptor.ts';
import { MirrorError } from '../../core/errors.ts';
import { failedItem, makeReport, type Report, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import { HashPool } from '../../fs/hash-pool.ts';
import { findFlaws, type Flaw } from '../../hub/snapshot/offline.ts';
import type { RepoRequest } from '../../hub/repo.ts';
import type { Lock, LockedFile, LockedModel } from '../../manifest/schema.ts';
import type { Context } from '../context.ts';
import { checkFiles } from '../store/files.ts';
import { lockFile, readLock } from '../store/store-lock.ts';

/** What says what belongs into a store. @throws E_NOT_FOUND when there is none */
export async function lockOf(store: string): Promise<Lock> {
  const lock = await readLock(store);
  if (lock) return lock;
  throw new MirrorError('E_NOT_FOUND', `\`${store}\` has no \`${lockFile}\` that says what belongs in it`, {
    hint: 'run `sie-mirror pull` or `snapshot` once where the hub can be reached',
    at: { item: store },
  });
}

/** Bytes that comparing these with what is stored will read. */
export function bytesToCheck(models: readonly LockedModel[], files: readonly LockedFile[]): number {
  return (
    models.reduce((sum, { files: own, notices = [] }) => sum + totalSize([...own, ...notices]), 0) +
    files.reduce((sum, { size = 0 }) => sum + size, 0)
  );
}

/** Compares one repo of a lock with what is stored of it, every byte. */
export async function checkModel(
  model: LockedModel,
  lock: Lock,
  store: string,
  pool: HashPool,
  { threads, signal }: Context,
): Promise<Flaw[]> {
  const commits = lock.models.filter(isSameRepo(model)).map(({ commit }) => commit);
  return findFlaws(store, model, commits, { pool, slots: threads * 2, signal });
}

/** Hashes what is stored, and tells of the progress. */
export function storeHashPool(context: Context): HashPool {
  return new HashPool(context.threads, (bytes) => context.report({ type: 'bytes', bytes }), context.signal);
}

/**
 * Compares repos of a store with its lock, every byte and without a network; all of the lock's, and its single files, when none is named.
 * @throws E_NOT_FOUND when there is no lock, or a repo is not in it
 */
export async function checkOffline(requests: readonly RepoRequest[], store: string, context: Context): Promise<Report> {
  const lock = await lockOf(store);
  const wanted = lock.models.filter((model) => requests.length === 0 || requests.some(isOf(model)));
  const unknown = requests.find((request) => !lock.models.some((model) => isOf(model)(request)));
  if (unknown)
    throw new MirrorError('E_NOT_FOUND', `\`${unknown.repo}@${unknown.revision}\` is not in the lock of \`${store}\``, {
      at: { item: unknown.repo },
    });
  const items: ReportItem[] = [];
  const single = requests.length === 0 ? lock.files : [];
  const bytes = bytesToCheck(wanted, single);
  context.report({ type: 'total', bytes });
  await using pool = storeHashPool(context);
  for (const model of wanted) {
    const flaws = await checkModel(model, lock, store, pool, context);
    const name = `${model.repo}@${model.commit}`;
    if (flaws.length === 0)
      items.push({ kind: model.type, name, state: 'present', bytes: 0, detail: { files: model.files.length } });
    for (const { path, error } of flaws) items.push(failedItem('file', `${name}/${path}`, error));
  }
  const repos = items.filter(({ state }) => state !== 'failed').length;
  await checkFiles(single, items, store, pool);
  const good = items.filter(({ state }) => state !== 'failed');
  const summary = good.map(({ name }) => `${name}  every byte is as the lock says`);
  summary.push(
    `${plural(repos, 'repo')} of ${wanted.length} whole${single.length > 0 ? `, ${plural(good.length - repos, 'file')} of ${single.length}` : ''}, ${formatBytes(bytes)} compared with the lock`,
  );
  return makeReport(
    'snapshot',
    items,
    { repos: wanted.length, files: wanted.flatMap(({ files }) => files).length + single.length, bytes },
    summary,
  );
}

function isSameRepo(one: { type: string; repo: string }) {
  return (other: { type: string; repo: string }): boolean => one.type === other.type && one.repo === other.repo;
}

/** A repo is meant by its name alone, or by a revision or commit as well. */
function isOf(model: { type: string; repo: string; revision: string; commit: string }) {
  return (request: RepoRequest): boolean =>
    isSameRepo(model)(request) && ['main', model.revision, model.commit].includes(request.revision);
}
