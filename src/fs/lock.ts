import { randomBytes } from 'node:crypto';
import { open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorError, toMirrorError } from '../core/errors.ts';
import { namePath, partialSuffix } from './atomic.ts';
import { makeDirectory } from './directories.ts';
import { ifThere } from './if-there.ts';

/** Who holds locks, and how to tell whether another one still runs. */
export interface LockOwner {
  pid: number;
  isRunning(pid: number): boolean;
}

/** For who cannot tell whether a process runs: then all do. */
export const anyOwner: LockOwner = { pid: 0, isRunning: () => true };

export interface LockOptions {
  /** How long to wait for another process that holds the lock; not at all when not given. */
  waitMs?: number;
  /** Whether others may hold the place for reading: then it is refused while one does. */
  readers?: boolean;
}

/** What a lock file says of who holds it. */
interface Holder {
  pid: number;
  host: string;
  /** Process ids come again, in a container that is started again even the same one; this does not. */
  run: string;
  /** Of this one holding; empty when nobody finished writing the file. */
  id: string;
}

/** Names the run of this process, this once. */
export const runId = randomBytes(4).toString('hex');

/** A lock file is created and then written; one that stays empty this long was left by a process that died between. */
const emptyMs = 10_000;
/** Taking over what a dead process left takes a moment; others that want it too wait at least this long. */
const takeoverMs = 2000;

/**
 * Keeps other processes out of a place that only one may write to, until the lock is disposed of. A lock that was left
 * by a process that runs no more is taken over.
 * @param path of the lock file
 * @param place what is locked, for messages
 * @throws E_REFUSED
 */
export async function lockPlace(
  path: string,
  place: string,
  owner: LockOwner,
  { waitMs = 0, readers = false }: LockOptions = {},
): Promise<AsyncDisposable> {
  await makeDirectory(dirname(path));
  const id = randomBytes(6).toString('hex');
  const begun = Date.now();
  while (!(await create(path, owner, id))) {
    const holder = await readHolder(path);
    const gone = holder !== undefined && isGone(holder, owner);
    if (holder) {
      const patienceMs = isEmpty(holder) ? emptyMs + takeoverMs : gone ? takeoverMs : 0;
      if (Date.now() - begun >= Math.max(waitMs, patienceMs)) throw refusal(path, place, holder);
    }
    if (gone) await takeOver(path, holder, owner);
    else await sleep(20 + Math.random() * 60);
  }
  const lock = {
    [Symbol.asyncDispose]: async () => {
      if ((await readHolder(path))?.id === id) await rm(path, { force: true });
    },
  };
  // Only now: whoever begins to read from here on sees this lock.
  const reader = readers ? await findReader(path, owner) : undefined;
  if (!reader) return lock;
  await lock[Symbol.asyncDispose]();
  throw refusal(reader.path, place, reader.holder, 'reads');
}

/**
 * Holds a place for reading, beside others that do, and keeps out who wants it alone with `readers`.
 * @param path of the lock file that a writer makes
 * @returns undefined where nothing can be written, because it is read-only, full or not there: no writer is there then, either
 * @throws E_REFUSED while somebody writes there
 */
export async function lockForReading(
  path: string,
  place: string,
  owner: LockOwner,
): Promise<AsyncDisposable | undefined> {
  if (!(await stat(dirname(path)).catch(() => undefined))?.isDirectory()) return undefined;
  const own = `${path}${readingMark}${randomBytes(6).toString('hex')}`;
  const held = await create(own, owner, 'reading').catch((error: unknown) => {
    if (cannotBeWritten.has(toMirrorError(error).code)) return false;
    throw error;
  });
  // What killed runs left would stay for ever in a store that is only read.
  if (held) await findReader(path, owner);
  // A writer that is just being refused, because somebody reads, is gone in a moment.
  for (let looks = 5; ; looks -= 1) {
    const writer = await readHolder(path);
    if (!writer || isGone(writer, owner)) break;
    if (looks === 0) {
      await rm(own, { force: true });
      throw refusal(path, place, writer);
    }
    await sleep(20 + Math.random() * 60);
  }
  return held ? { [Symbol.asyncDispose]: () => rm(own, { force: true }) } : undefined;
}

const readingMark = '.reading-';
const cannotBeWritten = new Set(['E_REFUSED', 'E_NO_SPACE']);

/** Somebody who reads; what dead ones left is taken away. */
async function findReader(path: string, owner: LockOwner): Promise<{ path: string; holder: Holder } | undefined> {
  const directory = dirname(path);
  let found: { path: string; holder: Holder } | undefined;
  for (const name of await readdir(directory)) {
    if (!name.startsWith(`${basename(path)}${readingMark}`)) continue;
    const reader = join(directory, name);
    const holder = await readHolder(reader);
    if (holder && !isGone(holder, owner)) found = { path: reader, holder };
    else await rm(reader, { force: true });
  }
  return found;
}

/** Whether a process of this host has ended; of those of other hosts nobody knows. */
export function hasEnded({ pid, run }: { pid: number; run: string }, owner: LockOwner): boolean {
  return pid === owner.pid ? run !== runId : !owner.isRunning(pid);
}

/** Nobody refuses because of what may be there for a moment more, or have lost its bytes with a medium that was pulled. */
function isEmpty({ host }: Holder): boolean {
  return host === '';
}

function isGone(holder: Holder, owner: LockOwner): boolean {
  return holder.id === '' || (holder.host === hostname() && hasEnded(holder, owner));
}

/**
 * Of all that saw the same dead holder one may remove its lock: who creates the file that is named after it. Without
 * that, the slower of two would remove the lock that the faster has just made.
 */
async function takeOver(path: string, dead: Holder, owner: LockOwner): Promise<void> {
  const mark = `${path}.${dead.id || 'empty'}${partialSuffix}`;
  if (!(await create(mark, owner, 'takeover'))) {
    // Its maker may have died too.
    if ((await ageOf(mark)) > takeoverMs) await rm(mark, { force: true });
    await sleep(20);
    return;
  }
  if ((await readHolder(path))?.id === dead.id) await rm(path, { force: true });
  await rm(mark, { force: true });
}

async function create(path: string, { pid }: LockOwner, id: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx');
    try {
      await file.writeFile(JSON.stringify({ pid, host: hostname(), run: runId, id }));
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw namePath(error, path);
  }
}

/** Undefined when there is no lock any more. */
async function readHolder(path: string): Promise<Holder | undefined> {
  const text = await ifThere(readFile(path, 'utf8'));
  if (text === undefined) return undefined;
  try {
    const { pid, host, run, id } = JSON.parse(text) as Partial<Record<keyof Holder, unknown>>;
    if (typeof pid === 'number' && typeof host === 'string') return { pid, host, run: String(run), id: String(id) };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { pid: 0, host: '', run: '', id: (await ageOf(path)) > emptyMs ? '' : 'begun' };
}

async function ageOf(path: string): Promise<number> {
  const found = await ifThere(stat(path));
  return found ? Date.now() - found.mtimeMs : 0;
}

function refusal(path: string, place: string, { pid, host }: Holder, does = 'works in'): MirrorError {
  const who = host === '' ? '' : ` (process ${pid} on ${host})`;
  return new MirrorError('E_REFUSED', `another sie-mirror${who} ${does} \`${place}\``, {
    hint: `wait for it to end; if none runs, delete \`${path}\``,
    at: { item: place },
  });
}
