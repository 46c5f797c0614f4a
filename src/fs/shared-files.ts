import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { smallBody } from '../core/limit.ts';
import type { Content } from '../core/ports.ts';
import type { Expectation } from '../core/stream.ts';
import { partialSuffix } from './atomic.ts';
import type { Freed } from './freed.ts';
import { ifThere } from './if-there.ts';
import { hasEnded, type LockOwner, runId } from './lock.ts';
import { hasFile, receiveFile, sizeOf } from './receive.ts';

/** A file that somebody is, or was, writing. */
interface PartialFile {
  path: string;
  size: number;
  /** Nobody writes to it any more. */
  left: boolean;
  /** Since somebody wrote to it. */
  idleMs: number;
}

/** A file of another process that does not grow for this long is not waited for. */
const patienceMs = 10_000;
/** Whether a process of another host still runs can only be told by what it does; connections are given up earlier. */
const foreignMs = 120_000;

/** Host, process and run of who writes; a name without them is that of a file that nobody writes to. */
const markPattern = /\.([0-9a-f]{8})-(\d+)-([0-9a-f]{8})-[0-9a-f]{6}\.partial$/;
const hostMark = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);

/**
 * Files that are named by their content, in directories that several processes write to. A partial file bears the name of
 * the process that writes to it: `NAME.HOST-PID-RUN-RANDOM.partial`. To rename it is to take it, so that of several that want
 * what a dead process left exactly one gets it; there are no lock files that a killed process could leave. A large file
 * that another process is writing is waited for.
 */
export class SharedFiles {
  readonly #owner: LockOwner;
  readonly #patienceMs: number;
  readonly #leftovers = new Map<string, Promise<Set<string>>>();

  /** @param patience in milliseconds, how long a file that does not grow is waited for */
  constructor(owner: LockOwner, patience = patienceMs) {
    this.#owner = owner;
    this.#patienceMs = patience;
  }

  /**
   * As `receiveFile`; returns as well when another process has brought the same file meanwhile.
   * @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH, and what `content` throws
   */
  async receive(path: string, content: Content, expected: Expectation, signal?: AbortSignal): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    const partial = await this.#claim(path, expected.size, signal);
    if (partial === undefined) return;
    try {
      await receiveFile(path, content, expected, { signal, partial });
    } catch (error) {
      if (expected.size <= smallBody) await rm(partial, { force: true });
      else await release(partial, path);
      throw error;
    }
    await this.#tidy(path);
  }

  /** Takes away what dead processes left in a directory so long ago, and nobody has gone on with. */
  async sweep(directory: string, idleMs: number): Promise<Freed> {
    const freed: Freed = { files: 0, bytes: 0 };
    for (const name of await readdir(directory).catch(() => [])) {
      const path = join(directory, name);
      const found = name.endsWith(partialSuffix) ? await this.#look(path, name) : undefined;
      if (!found?.left || found.idleMs <= idleMs) continue;
      await rm(path, { force: true });
      freed.files += 1;
      freed.bytes += found.size;
    }
    return freed;
  }

  /** The partial file to write to, ours alone; undefined when another process has brought the whole file. */
  async #claim(path: string, size: number, signal: AbortSignal | undefined): Promise<string | undefined> {
    if (size <= smallBody) return partialPath(path, { pid: this.#owner.pid, run: runId });
    for (;;) {
      const others = await this.#partials(path);
      const busy = others.filter(({ left }) => !left);
      if (busy.length > 0) {
        const outcome = await this.#wait(path, size, signal);
        if (outcome === 'arrived') return undefined;
        if (outcome === 'stuck') return this.#take(path, others);
        continue;
      }
      if (await hasFile(path, size)) return undefined;
      const mine = await this.#take(path, others);
      if (!(await this.#partials(path)).some((other) => !other.left && other.path !== mine)) return mine;
      // Somebody else came at the same moment: both step back, one will be first.
      await release(mine, path);
      await sleep(Math.random() * 100, undefined, { signal });
    }
  }

  /** Takes the most that a dead process left, or begins an empty one that others can see. */
  async #take(path: string, others: readonly PartialFile[]): Promise<string> {
    const mine = partialPath(path, { pid: this.#owner.pid, run: runId });
    for (const { path: dead } of others.filter(({ left }) => left).sort((a, b) => b.size - a.size))
      if (await renamed(dead, mine)) return mine;
    await (await open(mine, 'wx')).close();
    return mine;
  }

  async #wait(path: string, size: number, signal: AbortSignal | undefined): Promise<'arrived' | 'gone' | 'stuck'> {
    let known = -1;
    let since = Date.now();
    for (;;) {
      const busy = (await this.#partials(path)).filter(({ left }) => !left);
      if (await hasFile(path, size)) return 'arrived';
      if (busy.length === 0) return 'gone';
      const there = busy.reduce((sum, partial) => sum + partial.size, 0);
      if (there !== known) since = Date.now();
      else if (Date.now() - since >= this.#patienceMs) return 'stuck';
      known = there;
      await sleep(50 + Math.random() * 100, undefined, { signal });
    }
  }

  async #partials(path: string): Promise<PartialFile[]> {
    for (;;) {
      const names = (await readdir(dirname(path))).filter(isPartialOf(path));
      const found = await Promise.all(names.map((name) => this.#look(join(dirname(path), name), name)));
      const there = found.filter((partial) => partial !== undefined);
      // What has just been renamed is there by another name, and must not be taken for gone.
      if (there.length === found.length) return there;
    }
  }

  /** Undefined when it has just been renamed. */
  async #look(path: string, name: string): Promise<PartialFile | undefined> {
    const found = await ifThere(stat(path));
    if (!found) return undefined;
    const [, host, pid, run] = markPattern.exec(name) ?? [];
    const owner = { pid: Number(pid), run: run ?? '' };
    const idleMs = Date.now() - found.mtimeMs;
    const left = host === undefined || (host === hostMark ? hasEnded(owner, this.#owner) : idleMs > foreignMs);
    return { path, size: found.size, left, idleMs };
  }

  /** What dead processes left of a file that is whole now is of no use. */
  async #tidy(path: string): Promise<void> {
    if (!(await this.#isLeft(path))) return;
    for (const { path: partial, left } of await this.#partials(path)) if (left) await rm(partial, { force: true });
  }

  /** Small files are many: their directory is read once, not for each of them. */
  async #isLeft(path: string): Promise<boolean> {
    const directory = dirname(path);
    const names =
      this.#leftovers.get(directory) ??
      readdir(directory).then((all) => new Set(all.filter((name) => name.endsWith(partialSuffix)).map(wholeName)));
    this.#leftovers.set(directory, names);
    return (await names).has(basename(path));
  }
}

/** Where a process of this host writes what is to become `path`. */
export function partialPath(path: string, { pid, run }: { pid: number; run: string }): string {
  return `${path}.${hostMark}-${pid}-${run}-${randomBytes(3).toString('hex')}${partialSuffix}`;
}

function isPartialOf(path: string): (name: string) => boolean {
  const start = `${basename(path)}.`;
  return (name) => name.startsWith(start) && name.endsWith(partialSuffix);
}

function wholeName(partial: string): string {
  return partial.replace(markPattern, '').replace(/\.partial$/, '');
}

/** Leaves what there is to whoever comes next. */
async function release(partial: string, path: string): Promise<void> {
  if ((await sizeOf(partial)) > 0) await renamed(partial, `${path}${partialSuffix}`);
  else await rm(partial, { force: true });
}

/** Whether it was still there to be renamed. */
async function renamed(from: string, to: string): Promise<boolean> {
  return (await ifThere(rename(from, to).then(() => true))) ?? false;
}
