import { releaseChunk } from '../core/chunk-pool.ts';
import { type Checksum, openHash } from '../core/digest.ts';
import type { Content } from '../core/ports.ts';
import { type HashPiece, HashThread } from './hash-thread.ts';

/** What some bytes turned out to be. */
export interface StreamHash {
  hex: string;
  /** Bytes that came; of what is longer than was announced, those that came until that was seen. */
  size: number;
}

export interface StreamHashOptions {
  threads: number;
  /** Told of each chunk as it comes. */
  onBytes: (bytes: number) => void;
  signal?: AbortSignal | undefined;
}

const bufferBytes = 512 * 1024;
/** Up to this the way to a thread costs more than the hash. */
const inPlaceBytes = 256 * 1024;

/** Hashes streams in threads of their own, many at a time: while one buffer of a stream is hashed the next one fills. */
export class StreamHashPool implements AsyncDisposable {
  /** Begun when they are needed. */
  readonly #threads: HashThread[] = [];
  readonly #digests = new Map<number, string>();
  readonly #options: StreamHashOptions;
  /** Of streams that have ended, used again. */
  readonly #spare: SharedArrayBuffer[] = [];
  #next = 0;

  constructor(options: StreamHashOptions) {
    this.#options = options;
  }

  /**
   * Reads a content once, from its first byte to its last. It ends as soon as there is one byte too many.
   * @throws what reading throws
   */
  async hash(content: Content, algorithm: Checksum['algorithm'] = 'sha256'): Promise<StreamHash> {
    return content.size <= inPlaceBytes ? this.#inPlace(content, algorithm) : this.#inThread(content, algorithm);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread[Symbol.asyncDispose]()));
  }

  async #inPlace(content: Content, algorithm: Checksum['algorithm']): Promise<StreamHash> {
    const hash = openHash(algorithm, content.size);
    let size = 0;
    for await (const chunk of this.#chunksOf(content)) {
      size += chunk.length;
      hash.update(chunk);
    }
    return { hex: hash.digest('hex'), size };
  }

  async #inThread(content: Content, algorithm: Checksum['algorithm']): Promise<StreamHash> {
    const id = this.#next;
    this.#next += 1;
    const run = new ThreadRun(this.#thread(id % this.#options.threads), { id, algorithm, total: content.size }, [
      this.#take(),
      this.#take(),
    ]);
    try {
      for await (const chunk of this.#chunksOf(content)) await run.add(chunk);
    } finally {
      await run.end();
      this.#spare.push(...run.buffers);
    }
    const hex = this.#digests.get(id) ?? '';
    this.#digests.delete(id);
    return { hex, size: run.size };
  }

  #thread(index: number): HashThread {
    const thread = this.#threads[index] ?? new HashThread((id, hex) => this.#digests.set(id, hex));
    this.#threads[index] = thread;
    return thread;
  }

  async *#chunksOf(content: Content): AsyncGenerator<Uint8Array> {
    let size = 0;
    for await (const chunk of content.open(0, this.#options.signal)) {
      size += chunk.length;
      this.#options.onBytes(chunk.length);
      yield chunk;
      releaseChunk(chunk);
      if (size > content.size) return;
    }
  }

  #take(): SharedArrayBuffer {
    return this.#spare.pop() ?? new SharedArrayBuffer(bufferBytes);
  }
}

type Pair = readonly [SharedArrayBuffer, SharedArrayBuffer];

/** One stream on its way through a thread. */
class ThreadRun {
  readonly buffers: Pair;
  size = 0;
  readonly #thread: HashThread;
  readonly #hash: Pick<HashPiece, 'id' | 'algorithm' | 'total'>;
  #filling: 0 | 1 = 0;
  #filled = 0;
  #before: Promise<void> = Promise.resolve();

  constructor(thread: HashThread, hash: Pick<HashPiece, 'id' | 'algorithm' | 'total'>, buffers: Pair) {
    this.#thread = thread;
    this.#hash = hash;
    this.buffers = buffers;
  }

  async add(chunk: Uint8Array): Promise<void> {
    this.size += chunk.length;
    for (let rest = chunk; rest.length > 0;) {
      const taken = rest.subarray(0, bufferBytes - this.#filled);
      new Uint8Array(this.buffers[this.#filling]).set(taken, this.#filled);
      this.#filled += taken.length;
      rest = rest.subarray(taken.length);
      if (this.#filled === bufferBytes) await this.#hand(false);
    }
  }

  /** The thread forgets the hash with its last piece, whether the stream came to its end or not. */
  async end(): Promise<void> {
    await this.#hand(true);
    await this.#before;
  }

  /** Waits for the other buffer, which is filled next. */
  async #hand(last: boolean): Promise<void> {
    await this.#before;
    const piece = { ...this.#hash, start: 0, end: this.#filled, last };
    this.#before = this.#thread.hash(this.buffers[this.#filling], [piece]);
    this.#before.catch(() => {});
    this.#filling = this.#filling === 0 ? 1 : 0;
    this.#filled = 0;
  }
}
