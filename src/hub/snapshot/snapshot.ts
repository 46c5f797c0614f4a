import { dirname, join } from 'node:path';
import { MirrorError, toMirrorError } from '../../core/errors.ts';
import type { Reporter } from '../../core/events.ts';
import { forEachBySize } from '../../core/limit.ts';
import { onceMore } from '../../core/once-more.ts';
import type { Content } from '../../core/ports.ts';
import { contentOf, counted } from '../../core/stream.ts';
import { printable } from '../../core/text.ts';
import { makeDirectory, syncFolders } from '../../fs/directories.ts';
import type { Freed } from '../../fs/freed.ts';
import type { HashPool } from '../../fs/hash-pool.ts';
import { hasFile, receiveFile, type ReceiveOptions } from '../../fs/receive.ts';
import type { RangesOptions } from '../../fs/receive-ranges.ts';
import { cloneFile, findInCache } from './adopt.ts';
import type { RepoCache } from './cache.ts';
import type { HubClient } from '../access/client.ts';
import { sweepRepo } from './leftovers.ts';
import { cacheOf, noticePartial, noticePath, noticesOf } from '../places.ts';
import { hasRightBytes } from './proof.ts';
import { prune } from './prune.ts';
import { refsOf } from './refs.ts';
import type { RepoFile } from '../repo.ts';
import { Seen, sha256OfFile } from './seen.ts';
import { type SnapshotPlan, unique } from './snapshot-plan.ts';
import { UnfinishedRuns } from './unfinished.ts';

/** Below this one connection is as good as several. */
const defaultRangesFrom = 256 * 1024 * 1024;

export interface FetchOptions {
  slots: number;
  report: Reporter;
  signal?: AbortSignal | undefined;
  symlinks: boolean;
  /** Hashes what is on disk; made when it is needed first. */
  pool: () => HashPool;
  /** Reads every byte of what is there, and fetches again what is not as the hub declares it. */
  verify?: boolean | undefined;
  /** Another Hugging Face cache, whose files are taken when their bytes are right. */
  adopt?: string | undefined;
  /** Size from which on a file is fetched by several ranges at once. */
  rangesFrom?: number | undefined;
  /** Small files that have been read already, by the hash that the hub declares. */
  read?: ReadonlyMap<string, Buffer> | undefined;
  /** sha256 of files of which the hub declares git's hash only, by that. */
  known?: ReadonlyMap<string, string> | undefined;
  /** Whether `refs/main` leads here; it does when this is not said. */
  isMain?: boolean | undefined;
  /** Sees the whole snapshot before any ref names it; when it throws, none does. */
  beforeRefs?: (() => Promise<void>) | undefined;
}

export interface SnapshotTally {
  fetched: number;
  fetchedBytes: number;
  adopted: number;
  present: number;
  /** Files that an earlier run with another filter had put into the snapshot. */
  removed: number;
  /** What runs that were killed had left, and nobody wants any more. */
  freed: Freed;
  /** The plan's files, each with its sha256. */
  files: RepoFile[];
  /** The same of its notices. */
  notices: RepoFile[];
}

/**
 * Brings the store's cache to what the plan says. Blobs first, longest first; then links, the list of files, and the
 * refs, so that no ref ever names a snapshot that is not whole. Afterwards the snapshot holds the plan's files and no
 * others: what an earlier run with another filter has left there goes.
 * @throws E_REFUSED for names that the file system cannot have, before the first byte; E_DIGEST_MISMATCH,
 * E_SIZE_MISMATCH, and what the hub's answers make
 */
export async function fetchSnapshot(
  hub: HubClient,
  store: string,
  plan: SnapshotPlan,
  options: FetchOptions,
): Promise<SnapshotTally> {
  const cache = cacheOf(store, plan, options.symlinks);
  await cache.prepare();
  for (const files of [plan.files, plan.notices ?? []]) await cache.checkNames(plan.commit, files, plan.repo);
  const tally: SnapshotTally = {
    fetched: 0,
    fetchedBytes: 0,
    adopted: 0,
    present: 0,
    removed: 0,
    freed: { files: 0, bytes: 0 },
    files: [],
    notices: [],
  };
  const isBare = await cache.isBare(plan.commit);
  const unfinished = new UnfinishedRuns(cache.directory);
  const job: Job = { hub, store, plan, cache, isBare, tally, options, unfinished };
  const sha256 = new Map<string, string>();
  await forEachBySize(unique(plan.files), options.slots, async (file) => {
    sha256.set(file.checksum.hex, await bringFile(job, file));
  });
  await forEachBySize(plan.notices ?? [], options.slots, async (file) => {
    sha256.set(file.checksum.hex, await bringNotice(job, file));
  });
  const known = (file: RepoFile): RepoFile => ({ ...file, sha256: sha256.get(file.checksum.hex) });
  tally.files = plan.files.map(known);
  tally.notices = (plan.notices ?? []).map(known);
  await listFiles(job);
  tally.removed = isBare ? 0 : await cache.prune(plan.commit, plan.files);
  // A bundle carries all that stand there.
  await prune(join(noticesOf(store, plan), plan.commit), plan.notices ?? []);
  await options.beforeRefs?.();
  for (const revision of refsOf(plan, options.isMain))
    if (!(await cache.hasRef(revision, plan.commit))) await cache.writeRef(revision, plan.commit);
  await unfinished.end(plan.revision);
  if (!isBare) tally.freed = await sweepRepo(cache.directory, noticesOf(store, plan), true);
  return tally;
}

/** What the list of files and the refs lead to has to be on the medium before they are: a ref may be there already. */
async function listFiles({ store, plan, cache, tally }: Job): Promise<void> {
  const isNew = await cache.place(plan.commit, plan.files);
  if (isNew || tally.fetched + tally.fetchedBytes + tally.adopted > 0) {
    await cache.sync(plan.commit, plan.files);
    await syncFolders(
      (plan.notices ?? []).map((file) => noticePath(store, plan, file)),
      noticesOf(store, plan),
    );
  }
  await cache.writeTree(plan.commit, plan.files);
}

interface Job {
  hub: HubClient;
  store: string;
  plan: SnapshotPlan;
  cache: RepoCache;
  /** When it began nothing was there. */
  isBare: boolean;
  tally: SnapshotTally;
  options: FetchOptions;
  unfinished: UnfinishedRuns;
  /** That something is fetched has been noted down. */
  begun?: Promise<void>;
}

/** @returns the file's sha256 */
async function bringFile(job: Job, file: RepoFile): Promise<string> {
  const { cache, tally, options } = job;
  options.signal?.throwIfAborted();
  let found: string | undefined;
  if (await isThere(job, file)) {
    tally.present += 1;
    found = options.known?.get(file.checksum.hex);
    options.report({ type: 'bytes', bytes: file.size });
  } else if (await takeFromOther(job, file)) {
    tally.present += 1;
    options.report({ type: 'bytes', bytes: file.size });
  } else if (await adoptFile(job, file)) {
    tally.adopted += 1;
    options.report({ type: 'bytes', bytes: file.size });
  } else {
    await (job.begun ??= job.unfinished.begin(job.plan.revision, unique(job.plan.files)));
    found = await (isBig(job, file) && !(await cache.isBegun(file)) ? fetchRanges(job, file) : fetchWhole(job, file));
    tally.fetched += 1;
  }
  if (file.checksum.algorithm === 'sha256') return file.checksum.hex;
  return heldToLock(job, file, found ?? (await hashSmall(job, file)));
}

/**
 * Of a file that the hub knows by git's hash only. What a lock says of it holds as much as what the hub says, and more
 * than a sha1 can.
 */
async function heldToLock({ plan, cache }: Job, file: RepoFile, found: string): Promise<string> {
  if (file.sha256 === undefined || file.sha256 === found) return found;
  await cache.drop(plan.commit, file);
  throw new MirrorError(
    'E_DIGEST_MISMATCH',
    `\`${plan.repo}/${file.path}\` has digest \`sha256:${found}\`, the lock says \`sha256:${file.sha256}\``,
    { at: { side: 'source', item: `${plan.repo}/${file.path}` } },
  );
}

/** Xet fetches the parts of a file side by side by itself. */
function isBig({ hub, options }: Job, file: RepoFile): boolean {
  return file.size >= (options.rangesFrom ?? defaultRangesFrom) && !hub.isByXet(file);
}

/** @returns the file's sha256, when that is known now */
async function fetchWhole(job: Job, file: RepoFile): Promise<string | undefined> {
  const item = `${job.plan.repo}/${file.path}`;
  return fetchFile(job, file, (content, receive) => job.cache.receive(file, content, item, receive));
}

/** One connection may be slower than the line; what cannot be had in ranges comes whole. */
async function fetchRanges(job: Job, file: RepoFile): Promise<string | undefined> {
  const { hub, plan, cache, tally, options } = job;
  const parts = hub.parts(plan, plan.commit, file);
  const part = (from: number, to: number): Content =>
    counted(parts(from, to), (bytes) => {
      tally.fetchedBytes += bytes;
    });
  const onBytes = (bytes: number): void => options.report({ type: 'bytes', bytes });
  const receive = (watch: RangesOptions): Promise<void> =>
    cache.receiveRanges(file, part, `${plan.repo}/${file.path}`, { signal: options.signal, ...watch });
  try {
    await onceMore(
      options.report,
      () => receive({ onBytes }),
      () => receive({}),
    );
    return undefined;
  } catch (error) {
    if (toMirrorError(error).code !== 'E_PROTOCOL') throw error;
    await cache.dropRanges(file);
    return fetchWhole(job, file);
  }
}

/** @returns the file's sha256 */
async function bringNotice(job: Job, file: RepoFile): Promise<string> {
  const { store, plan, options } = job;
  const path = noticePath(store, plan, file);
  const expected = { size: file.size, checksum: file.checksum, item: `${plan.repo}/${file.path}` };
  const isRight =
    (await hasFile(path, file.size)) &&
    (isTrusted(job, file) || (await hasRightBytes(path, file, options.pool, options.signal)));
  if (isRight) options.report({ type: 'bytes', bytes: file.size });
  const partial = noticePartial(store, plan, file);
  await makeDirectory(dirname(path));
  const found = isRight
    ? options.known?.get(file.checksum.hex)
    : await fetchFile(job, file, (content, receive) => receiveFile(path, content, expected, { ...receive, partial }));
  return file.checksum.algorithm === 'sha256' ? file.checksum.hex : (found ?? sha256OfFile(path));
}

/** Whether its size is enough. What is to be hashed for the first time must not make wrong bytes the right ones. */
function isTrusted({ options }: Job, { checksum }: RepoFile): boolean {
  if (options.verify) return false;
  return checksum.algorithm === 'sha256' || options.known?.has(checksum.hex) === true;
}

async function isThere(job: Job, file: RepoFile): Promise<boolean> {
  const { plan, cache, isBare, options } = job;
  const path = isBare ? undefined : await cache.find(plan.commit, file);
  if (path === undefined) return false;
  if (isTrusted(job, file) || (await hasRightBytes(path, file, options.pool, options.signal))) return true;
  options.report({
    type: 'warning',
    text: `\`${plan.repo}/${file.path}\` was changed in the store; it is fetched again`,
  });
  await cache.drop(plan.commit, file);
  return false;
}

/** What another snapshot has of the same bytes, where snapshots do not share blobs. */
async function takeFromOther({ cache, options }: Job, file: RepoFile): Promise<boolean> {
  const from = await cache.findInOthers(file);
  if (from === undefined) return false;
  return cache.adopt(
    file,
    (path) => cloneFile(from, path),
    (path) => hasRightBytes(path, file, options.pool, options.signal),
  );
}

async function adoptFile({ plan, cache, options }: Job, file: RepoFile): Promise<boolean> {
  if (options.adopt === undefined) return false;
  const from = await findInCache(options.adopt, plan, file);
  if (from === undefined) return false;
  let isBrought = false;
  const isRight = await cache.adopt(
    file,
    async (path) => (isBrought = await cloneFile(from, path)),
    (path) => hasRightBytes(path, file, options.pool, options.signal),
  );
  const fault = isBrought ? 'is not what the hub declares' : 'cannot be read';
  if (!isRight)
    options.report({
      type: 'warning',
      text: `\`${plan.repo}/${printable(file.path)}\` in \`${options.adopt}\` ${fault}; it is fetched`,
    });
  return isRight;
}

async function fetchFile(
  { hub, plan, tally, options }: Job,
  file: RepoFile,
  receive: (content: Content, options: ReceiveOptions) => Promise<void>,
): Promise<string | undefined> {
  const read = options.read?.get(file.checksum.hex);
  const source = read ? contentOf(read) : hub.content(plan, plan.commit, file);
  const content = counted(source, (bytes) => {
    tally.fetchedBytes += bytes;
  });
  // What an earlier run left on disk is progress too, though nothing was fetched for it.
  const seen = new Seen();
  const onBytes = (chunk: Uint8Array): void => {
    if (file.checksum.algorithm === 'git-sha1') seen.update(chunk);
    options.report({ type: 'bytes', bytes: chunk.length });
  };
  let isFirst = true;
  await onceMore(
    options.report,
    () => receive(content, { signal: options.signal, onBytes }),
    () => {
      isFirst = false;
      return receive(content, { signal: options.signal });
    },
  );
  return isFirst ? seen.sha256(file.size) : undefined;
}

/** Of a file that the hub knows by git's hash; those are small. */
async function hashSmall({ plan, cache }: Job, file: RepoFile): Promise<string> {
  const path = await cache.find(plan.commit, file);
  if (path === undefined) throw new MirrorError('E_MISSING', `\`${plan.repo}/${file.path}\` is gone from the store`);
  return sha256OfFile(path);
}
