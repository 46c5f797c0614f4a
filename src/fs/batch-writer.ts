import { writevSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { releaseChunk } from '../core/chunk-pool.ts';

/** Chunks from the network may be small; a call for each costs more than it is worth. */
const batchBytes = 256 * 1024;

/** A medium that lets us wait longer for one batch is one to do other things beside. */
const defaultPatienceMs = 50;

/**
 * Appends chunks to an open file in a few large writes, and releases them. It writes by blocking, as the bytes are in the
 * cache of this core then, and to hand them to another one costs more than to write them; but it goes on in the
 * background once the medium has shown that it is slow.
 */
export class BatchWriter {
  readonly #file: FileHandle;
  readonly #patienceMs: number;
  #position: number;
  #chunks: Uint8Array[] = [];
  #pending = 0;
  #isSlow = false;

  constructor(file: FileHandle, position: number, patienceMs = defaultPatienceMs) {
    this.#file = file;
    this.#position = position;
    this.#patienceMs = patienceMs;
  }

  /** Where the next bytes go: those before it are written. */
  get position(): number {
    return this.#position;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#chunks.push(chunk);
    this.#pending += chunk.length;
    if (this.#pending >= batchBytes) await this.flush();
  }

  async flush(): Promise<void> {
    const chunks = this.#chunks;
    const bytes = this.#pending;
    if (bytes === 0) return;
    this.#chunks = [];
    this.#pending = 0;
    let written = await this.#put(chunks);
    // A disk that fills up writes a part and only then refuses: the next call brings the error.
    while (written < bytes) {
      const rest = Buffer.concat(chunks).subarray(written);
      written += (await this.#file.write(rest, 0, rest.length, this.#position + written)).bytesWritten;
    }
    this.#position += bytes;
    for (const chunk of chunks) releaseChunk(chunk);
  }

  async #put(chunks: Uint8Array[]): Promise<number> {
    if (this.#isSlow) return (await this.#file.writev(chunks, this.#position)).bytesWritten;
    const begun = performance.now();
    const written = writevSync(this.#file.fd, chunks, this.#position);
    this.#isSlow = performance.now() - begun > this.#patienceMs;
    return written;
  }
}
