import { type Checksum, openHashText } from '../core/digest.ts';
import { startThread } from '../core/thread.ts';

/** A piece of a shared buffer that belongs to one hash; a hash begins with its first piece. */
export interface HashPiece {
  id: number;
  algorithm: Checksum['algorithm'];
  /** Of all that the hash will be made of: git wants to know it first. */
  total: number;
  start: number;
  end: number;
  last: boolean;
}

const workerSource = `
const { parentPort } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const hashes = new Map();
${openHashText}
parentPort.on('message', ({ buffer, pieces }) => {
  const digests = [];
  for (const piece of pieces) {
    const hash = hashes.get(piece.id) ?? openHash(piece.algorithm, piece.total);
    hashes.set(piece.id, hash);
    if (piece.end > piece.start) hash.update(new Uint8Array(buffer, piece.start, piece.end - piece.start));
    if (!piece.last) continue;
    digests.push([piece.id, hash.digest('hex')]);
    hashes.delete(piece.id);
  }
  parentPort.postMessage(digests);
});
`;

interface Waiting {
  resolve: () => void;
  reject: (error: Error) => void;
}

/** Hashes what is in shared buffers, in a thread of its own and in the order of the calls. */
export class HashThread implements AsyncDisposable {
  readonly #worker = startThread(workerSource);
  readonly #waiting: Waiting[] = [];
  #failed: Error | undefined;
  readonly #onDigest: (id: number, hex: string) => void;

  constructor(onDigest: (id: number, hex: string) => void) {
    this.#onDigest = onDigest;
    this.#worker.on('message', (digests: [number, string][]) => {
      for (const [id, hex] of digests) this.#onDigest(id, hex);
      this.#waiting.shift()?.resolve();
    });
    this.#worker.on('error', (error) => {
      this.#failed = error;
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    });
  }

  /** Resolves when the buffer may be written to again; by then `onDigest` has been told of all that ended in it. */
  async hash(buffer: SharedArrayBuffer, pieces: readonly HashPiece[]): Promise<void> {
    if (this.#failed) throw this.#failed;
    if (pieces.length === 0) return;
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage({ buffer, pieces });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}
