import { Worker } from 'node:worker_threads';
import type { Checksum } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';

/** A hash that bytes of a file go into; it begins with its first bytes, and its number must not come again. */
export interface FileHash {
  id: number;
  algorithm: Checksum['algorithm'];
  /** Of all that the hash will be made of: git wants to know it first. */
  total: number;
  /** Whether it ends with these bytes. */
  last: boolean;
}

/** A piece of a file, and which hashes want it. */
export interface FileRange {
  path: string;
  start: number;
  size: number;
  hashes: FileHash[];
}

/** What comes next in a volume: so many bytes of the batch's literal ones, then maybe a piece of a file. */
export interface Step {
  literal: number;
  range?: FileRange;
}

/** Steps in order; `literal` has the bytes that stand in no file: headers, padding, the end. */
export interface Batch {
  /** An open file, for the first batch of a volume: what comes is written to it from its beginning. */
  file?: number;
  literal: Uint8Array;
  steps: Step[];
  /** With it the volume is whole: its own hash comes back too. */
  ends?: boolean;
}

/** What a batch came to: hashes that ended in it, in hex by their numbers, and that of the volume. */
export interface BatchResult {
  hexes: ReadonlyMap<number, string>;
  volume?: string;
}

// Plain text, because a worker that is started from a file would need that file beside the one-file tool.
// One thread reads, hashes and writes by blocking, through one buffer that fits into the cache of its core: bytes that
// pass from core to core cost more than all the hashing of them. Outside of a volume, ranges are only hashed.
const workerSource = `
const { parentPort, workerData } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const { closeSync, openSync, readSync, writeSync } = require('node:fs');
const stop = new Int32Array(workerData);
const buffer = Buffer.allocUnsafeSlow(256 * 1024);
const tellEvery = 8 * 1024 * 1024;
const hashes = new Map();
let file, volumeHash, position, used = 0, untold = 0, hasFailed = false;
function openHash({ algorithm, total }) {
  return algorithm === 'git-sha1' ? createHash('sha1').update('blob ' + total + '\\0') : createHash(algorithm);
}
function tell() {
  if (untold > 0) parentPort.postMessage({ bytes: untold });
  untold = 0;
}
function flush() {
  volumeHash.update(buffer.subarray(0, used));
  // A disk that fills up writes a part and only then refuses: the next call brings the error.
  for (let done = 0; done < used; ) done += writeSync(file, buffer, done, used - done, position + done);
  position += used;
  used = 0;
}
function putLiteral(bytes) {
  for (let done = 0; done < bytes.length; ) {
    if (used === buffer.length) flush();
    const piece = bytes.subarray(done, done + buffer.length - used);
    buffer.set(piece, used);
    used += piece.length;
    done += piece.length;
  }
}
function readPiece(source, { path, start, size }, done) {
  if (Atomics.load(stop, 0) !== 0) throw Object.assign(new Error('stopped'), { code: 'STOPPED' });
  if (used === buffer.length) flush();
  let length;
  try {
    length = readSync(source, buffer, used, Math.min(size - done, buffer.length - used), start + done);
  } catch (error) {
    throw Object.assign(error, { path });
  }
  if (length === 0) throw Object.assign(new Error('ends early'), { code: 'ENDS_EARLY', path, end: start + done });
  return buffer.subarray(used, used + length);
}
function putRange(range, hexes) {
  const open = range.hashes.map((hash) => {
    const known = hashes.get(hash.id) ?? openHash(hash);
    hashes.set(hash.id, known);
    return known;
  });
  const source = openSync(range.path, 'r');
  try {
    for (let done = 0; done < range.size; ) {
      const bytes = readPiece(source, range, done);
      for (const hash of open) hash.update(bytes);
      if (file !== undefined) {
        used += bytes.length;
        untold += bytes.length;
      }
      done += bytes.length;
      if (untold >= tellEvery) tell();
    }
  } finally {
    closeSync(source);
  }
  for (const [index, { id, last }] of range.hashes.entries()) {
    if (!last) continue;
    hexes.set(id, open[index].digest('hex'));
    hashes.delete(id);
  }
}
function run({ literal, steps, ends }) {
  const hexes = new Map();
  let taken = 0;
  for (const step of steps) {
    putLiteral(literal.subarray(taken, taken + step.literal));
    taken += step.literal;
    if (step.range) putRange(step.range, hexes);
  }
  tell();
  if (!ends) return { hexes };
  flush();
  file = undefined;
  return { hexes, volume: volumeHash.digest('hex') };
}
parentPort.on('message', (batch) => {
  try {
    if (hasFailed) throw Object.assign(new Error('stopped'), { code: 'STOPPED' });
    if (batch.file !== undefined) {
      file = batch.file;
      volumeHash = createHash('sha256');
      position = 0;
    }
    parentPort.postMessage({ result: run(batch) });
  } catch (error) {
    hasFailed = true;
    const { message, code, syscall, path, end } = error;
    parentPort.postMessage({ failure: { message, code, syscall, path, end } });
  }
});
`;

interface Failure {
  message: string;
  code?: string;
  syscall?: string;
  path?: string;
  /** Of a file that is shorter than it was. */
  end?: number;
}

type Answer = { bytes: number } | { result: BatchResult } | { failure: Failure };

interface Waiting {
  resolve: (result: BatchResult) => void;
  reject: (error: Error) => void;
}

/**
 * A thread that makes volumes, one after the other. Each byte of a file is read once, hashed for the file and for the
 * volume while it is in the cache, and written once.
 */
export class VolumeThread implements AsyncDisposable {
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker = new Worker(workerSource, { eval: true, workerData: this.#stop.buffer });
  readonly #waiting: Waiting[] = [];
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => void Atomics.store(this.#stop, 0, 1);
  #failed: Error | undefined;
  readonly #onBytes: (bytes: number) => void;

  /**
   * @param signal ends what runs within a buffer's time
   * @param onBytes told of bytes of files as they are put into volumes
   */
  constructor(signal: AbortSignal, onBytes: (bytes: number) => void) {
    this.#signal = signal;
    this.#onBytes = onBytes;
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
    this.#worker.on('message', (answer: Answer) => this.#answer(answer));
    this.#worker.on('error', (error) => {
      this.#failed = error;
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    });
  }

  /**
   * Batches are run in the order of the calls. After one that failed, none is.
   * @throws E_SIZE_MISMATCH when a file ends early, E_ABORTED, or the system's error
   */
  async run(batch: Batch): Promise<BatchResult> {
    if (this.#failed) throw this.#failed;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(batch);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    await this.#worker.terminate();
  }

  #answer(answer: Answer): void {
    if ('bytes' in answer) this.#onBytes(answer.bytes);
    else if ('result' in answer) this.#waiting.shift()?.resolve(answer.result);
    else this.#waiting.shift()?.reject(asError(answer.failure));
  }
}

function asError({ message, end, ...system }: Failure): Error {
  const { code, path = '' } = system;
  if (code === 'STOPPED') return new MirrorError('E_ABORTED', 'interrupted');
  if (code === 'ENDS_EARLY') return new MirrorError('E_SIZE_MISMATCH', `\`${path}\` ends early, at byte ${end}`);
  const known = Object.entries(system).filter(([, value]) => value !== undefined);
  return Object.assign(new Error(message), Object.fromEntries(known));
}
