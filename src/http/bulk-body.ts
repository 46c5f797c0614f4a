import { chunkBytes, takeChunk } from '../core/chunk-pool.ts';

/** A chunk this large does not wait for its buffer to fill when somebody waits for it. */
const worthwhileBytes = chunkBytes / 2;

/** What is read with less room than this costs more calls than it is worth. */
const leastRoom = 64 * 1024;

/** How the connection that fills a body is told what to do. */
export interface BulkFlow {
  resume: () => void;
  /** The reader has gone before the end. */
  cancel: () => void;
}

/** The bytes of an answer between the connection that receives them and whoever reads them. */
export class BulkBody {
  readonly #flow: BulkFlow;
  #missing: number;
  #buffer: Buffer;
  #filled = 0;
  readonly #ready: Uint8Array[] = [];
  #failed: { error: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** @param length how many bytes will come */
  constructor(length: number, flow: BulkFlow) {
    this.#flow = flow;
    this.#missing = length;
    this.#buffer = length < chunkBytes ? Buffer.allocUnsafeSlow(length) : takeChunk();
  }

  /** How many bytes have not arrived. */
  get missing(): number {
    return this.#missing;
  }

  /** Whether a chunk is ready that nobody has asked for. */
  get isFull(): boolean {
    return this.#ready.length > (this.#wake ? 1 : 0);
  }

  /** Where the next bytes belong. */
  get room(): Buffer {
    return this.#buffer.subarray(this.#filled);
  }

  /** So many bytes now stand at the start of what `room` was, and all of them belong to the body. */
  received(bytes: number): void {
    this.#filled += bytes;
    this.#missing -= bytes;
    const worthwhile = this.#wake !== undefined && this.#filled >= worthwhileBytes;
    const left = this.#buffer.length - this.#filled;
    if (worthwhile || this.#missing === 0 || left < Math.min(leastRoom, this.#missing)) this.#deliver();
  }

  /** Nothing more will come; what has come is still read first. */
  fail(error: unknown): void {
    this.#failed ??= { error };
    this.#deliver();
    this.#wake?.();
  }

  async *read(): AsyncGenerator<Uint8Array> {
    try {
      for (let chunk = await this.#next(); chunk; chunk = await this.#next()) yield chunk;
    } finally {
      if (this.#missing > 0 && !this.#failed) this.#flow.cancel();
    }
  }

  #deliver(): void {
    if (this.#filled === 0) return;
    this.#ready.push(this.#buffer.subarray(0, this.#filled));
    this.#buffer = this.#missing > 0 && !this.#failed ? takeChunk() : Buffer.alloc(0);
    this.#filled = 0;
    this.#wake?.();
  }

  async #next(): Promise<Uint8Array | undefined> {
    while (this.#ready.length === 0) {
      if (this.#failed) throw this.#failed.error;
      if (this.#missing === 0) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
    const chunk = this.#ready.shift();
    if (this.#missing > 0 && !this.#failed) this.#flow.resume();
    return chunk;
  }
}
