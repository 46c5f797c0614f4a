import type { Worker } from 'node:worker_threads';
import { MirrorError } from '../core/errors.ts';
import { startThread } from '../core/thread.ts';
import type { Extent } from './read.ts';

// It reads by blocking: a thread that has nothing else to do gains nothing by handing its reads to yet another one, and
// the bytes stay in the cache of the core that hashes them. The system reads ahead by itself.
const workerSource = `
const { parentPort } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const { closeSync, constants, openSync, readSync } = require('node:fs');
const buffer = Buffer.allocUnsafeSlow(128 * 1024);
const tellEvery = 32 * 1024 * 1024;
function hashExtent(hash, { path, offset, size }, told) {
  // A pipe that has taken the place of a file is not waited for.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    for (let position = 0; position < size; ) {
      const length = readSync(file, buffer, 0, Math.min(buffer.length, size - position), offset + position);
      if (length === 0) throw Object.assign(new Error('ends early'), { code: 'ENDS_EARLY', path });
      hash.update(buffer.subarray(0, length));
      position += length;
      told(length);
    }
  } finally {
    closeSync(file);
  }
}
parentPort.on('message', (extents) => {
  let untold = 0;
  const tell = () => { if (untold > 0) parentPort.postMessage({ bytes: untold }); untold = 0; };
  try {
    const hash = createHash('sha256');
    for (const extent of extents) hashExtent(hash, extent, (bytes) => { untold += bytes; if (untold >= tellEvery) tell(); });
    tell();
    parentPort.postMessage({ hex: hash.digest('hex') });
  } catch (error) {
    tell();
    parentPort.postMessage({ error: { message: error.message, code: error.code, path: error.path ?? extents[0]?.path } });
  }
});
`;

interface Answer {
  bytes?: number;
  hex?: string;
  error?: { message: string; code?: string; path?: string };
}

interface Job {
  extents: readonly Extent[];
  resolve: (hex: string) => void;
  reject: (error: Error) => void;
}

/** Hashes pieces of files in worker threads, one piece of work a worker at a time, in the order given. */
export class HashPool implements AsyncDisposable {
  readonly #workers: Worker[] = [];
  readonly #idle: Worker[] = [];
  readonly #queue: Job[] = [];
  readonly #running = new Map<Worker, Job>();
  readonly #onBytes: (bytes: number) => void;
  readonly #signal: AbortSignal | undefined;

  constructor(threads: number, onBytes: (bytes: number) => void, signal?: AbortSignal) {
    this.#onBytes = onBytes;
    this.#signal = signal;
    signal?.addEventListener('abort', () => this.#abort(), { once: true });
    for (let index = 0; index < threads; index += 1) {
      const worker = startThread(workerSource);
      worker.on('message', (answer: Answer) => this.#answer(worker, answer));
      worker.on('error', (error) => this.#fail(error));
      this.#workers.push(worker);
      this.#idle.push(worker);
    }
  }

  /**
   * sha256 in hex over the extents, one after the other.
   * @throws E_SIZE_MISMATCH when a file ends early, E_ABORTED, or the system's error
   */
  async sha256(extents: readonly Extent[]): Promise<string> {
    if (this.#signal?.aborted) throw stopped();
    return new Promise((resolve, reject) => {
      this.#queue.push({ extents, resolve, reject });
      this.#next();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #abort(): void {
    this.#fail(stopped());
  }

  /** A thread that died takes no more work, and what waits for it would wait for ever. */
  #fail(error: Error): void {
    for (const job of [...this.#running.values(), ...this.#queue.splice(0)]) job.reject(error);
  }

  #next(): void {
    const worker = this.#queue.length > 0 ? this.#idle.pop() : undefined;
    const job = worker && this.#queue.shift();
    if (!worker || !job) return;
    this.#running.set(worker, job);
    worker.postMessage(job.extents);
  }

  #answer(worker: Worker, { bytes, hex, error }: Answer): void {
    if (bytes !== undefined) {
      this.#onBytes(bytes);
      return;
    }
    const job = this.#running.get(worker);
    this.#running.delete(worker);
    this.#idle.push(worker);
    if (hex !== undefined) job?.resolve(hex);
    else job?.reject(asError(error));
    this.#next();
  }
}

function stopped(): MirrorError {
  return new MirrorError('E_ABORTED', 'interrupted');
}

function asError(error: Answer['error']): Error {
  if (error?.code === 'ENDS_EARLY') return new MirrorError('E_SIZE_MISMATCH', `\`${error.path ?? ''}\` ends early`);
  return Object.assign(new Error(error?.message ?? 'hashing failed'), error);
}
