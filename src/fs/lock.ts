import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { MirrorError } from '../core/errors.ts';

/** Who holds locks, and how to tell whether another one still runs. */
export interface LockOwner {
  pid: number;
  isRunning(pid: number): boolean;
}

/**
 * Keeps a second process out of a place that only one may write to, until the lock is disposed of. A lock that was left
 * by a process that runs no more is taken over.
 * @param path of the lock file
 * @param place what is locked, for messages
 * @throws E_REFUSED
 */
export async function lockPlace(path: string, place: string, owner: LockOwner): Promise<AsyncDisposable> {
  await mkdir(dirname(path), { recursive: true });
  for (let attempt = 1; !(await create(path, owner)); attempt += 1) {
    const holder = await readHolder(path);
    const gone = holder?.host === hostname() && (holder.pid === owner.pid || !owner.isRunning(holder.pid));
    if (!gone || attempt > 3)
      throw new MirrorError(
        'E_REFUSED',
        `another sie-mirror${holder ? ` (process ${holder.pid} on ${holder.host})` : ''} works in \`${place}\``,
        {
          hint: `wait for it to end; if none runs, delete \`${path}\``,
          at: { item: place },
        },
      );
    await rm(path, { force: true });
  }
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

async function create(path: string, { pid }: LockOwner): Promise<boolean> {
  try {
    const file = await open(path, 'wx');
    await file.writeFile(JSON.stringify({ pid, host: hostname() }));
    await file.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function readHolder(path: string): Promise<{ pid: number; host: string } | undefined> {
  try {
    const { pid, host } = JSON.parse(await readFile(path, 'utf8')) as { pid?: unknown; host?: unknown };
    return typeof pid === 'number' && typeof host === 'string' ? { pid, host } : undefined;
  } catch {
    return undefined;
  }
}
