import { type Checksum, openHashText } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { startThread } from '../../core/thread.ts';

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

/** The numbers of open files. */
export interface OpenVolume {
  file: number;
  /** The same file, opened to be written past the page cache, where that can be done. */
  direct: number | undefined;
}

/** Steps in order; `literal` has the bytes that stand in no file: headers, padding, the end. */
export interface Batch {
  /** For the first batch of a volume: what comes is written to it from its beginning. */
  volume?: OpenVolume;
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

// One thread reads, hashes and writes by blocking, through one buffer that fits into the cache of its core: bytes that
// pass from core to core cost more than all the hashing of them. Past the page cache, where nothing is passed but the
// address, it is two larger buffers, one of which is written while the other is filled; such writes want whole blocks at
// addresses of whole pages, which memory of WebAssembly has. Outside of a volume, ranges are only hashed.
const workerSource = `
const { parentPort, workerData } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const { closeSync, openSync, readSync, write, writeSync } = require('node:fs');
const stop = new Int32Array(workerData);
const block = 64 * 1024, cachedBytes = 4 * block, directBytes = 16 * block, tellEvery = 8 * 1024 * 1024;
const memory = new WebAssembly.Memory({ initial: (2 * directBytes) / block }).buffer;
const hashes = new Map();
let buffer = Buffer.from(memory, 0, cachedBytes), spare;
let file, direct, volumeHash, position, used = 0, untold = 0, hasFailed = false, written = Promise.resolve();
${openHashText}
function tell() {
  if (untold > 0) parentPort.postMessage({ bytes: untold });
  untold = 0;
}
function begin(volume) {
  ({ file, direct } = volume);
  const size = direct === undefined ? cachedBytes : directBytes;
  buffer = Buffer.from(memory, 0, size);
  spare = Buffer.from(memory, size, size);
  volumeHash = createHash('sha256');
  position = 0;
}
function writeNow(bytes, at) {
  // A disk that fills up writes a part and only then refuses: the next call brings the error.
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, at + done);
}
function writeDirect(bytes, at) {
  const call = new Promise((resolve, reject) =>
    write(direct, bytes, 0, bytes.length, at, (error, done) => (error ? reject(error) : resolve(done))));
  return call.then(
    (done) => writeNow(bytes.subarray(done), at + done),
    (error) => {
      if (error.code !== 'EINVAL') throw error;
      direct = undefined;
      writeNow(bytes, at);
    });
}
async function flush() {
  const bytes = buffer.subarray(0, used);
  volumeHash.update(bytes);
  await written;
  const whole = direct === undefined ? 0 : used - (used % block);
  if (whole > 0) {
    written = writeDirect(bytes.subarray(0, whole), position);
    // Seen by who waits for it.
    written.catch(() => {});
    [buffer, spare] = [spare, buffer];
  }
  writeNow(bytes.subarray(whole), position + whole);
  position += used;
  used = 0;
}
async function putLiteral(bytes) {
  for (let done = 0; done < bytes.length; ) {
    if (used === buffer.length) await flush();
    const piece = bytes.subarray(done, done + buffer.length - used);
    buffer.set(piece, used);
    used += piece.length;
    done += piece.length;
  }
}
async function readPiece(source, { path, start, size }, done) {
  if (Atomics.load(stop, 0) !== 0) throw Object.assign(new Error('stopped'), { code: 'STOPPED' });
  if (used === buffer.length) await flush();
  let length;
  try {
    length = readSync(source, buffer, used, Math.min(size - done, buffer.length - used), start + done);
  } catch (error) {
    throw Object.assign(error, { path });
  }
  if (length === 0) throw Object.assign(new Error('ends early'), { code: 'ENDS_EARLY', path, end: start + done });
  return buffer.subarray(used, used + length);
}
async function putRange(range, hexes) {
  const open = range.hashes.map((hash) => {
    const known = hashes.get(hash.id) ?? openHash(hash.algorithm, hash.total);
    hashes.set(hash.id, known);
    return known;
  });
  const source = openSync(range.path, 'r');
  try {
    for (let done = 0; done < range.size; ) {
      const bytes = await readPiece(source, range, done);
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
async function run({ literal, steps, ends }) {
  const hexes = new Map();
  let taken = 0;
  for (const step of steps) {
    await putLiteral(literal.subarray(taken, taken + step.literal));
    taken += step.literal;
    if (step.range) await putRange(step.range, hexes);
  }
  tell();
  if (ends) await flush();
  // Who is told that the batch is done may close the file.
  await written;
  if (!ends) return { hexes };
  file = direct = undefined;
  return { hexes, volume: volumeHash.digest('hex') };
}
let turn = Promise.resolve();
parentPort.on('message', (batch) => { turn = turn.then(() => answer(batch)); });
async function answer(batch) {
  try {
    if (hasFailed) throw Object.assign(new Error('stopped'), { code: 'STOPPED' });
    if (batch.volume !== undefined) begin(batch.volume);
    parentPort.postMessage({ result: await run(batch) });
  } catch (error) {
    hasFailed = true;
    await written.catch(() => {});
    const { message, code, syscall, path, end } = error;
    parentPort.postMessage({ failure: { message, code, syscall, path, end } });
  }
}
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
  readonly #worker = startThread(workerSource, this.#stop.buffer);
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
