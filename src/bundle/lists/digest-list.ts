import type { Digest } from '../../core/digest.ts';

const digestBytes = 32;

/** Digests by sha256, of which it keeps the bytes only. */
export class DigestList {
  #bytes: Buffer = Buffer.alloc(16 * digestBytes);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(digest: Digest): void {
    if (this.#bytes.length === digestBytes * this.#length) this.#bytes = Buffer.concat([this.#bytes, this.#bytes]);
    this.#bytes.write(digest.slice('sha256:'.length), digestBytes * this.#length, 'hex');
    this.#length += 1;
  }

  at(index: number): Digest | undefined {
    if (index >= this.#length) return undefined;
    return `sha256:${this.#bytes.toString('hex', digestBytes * index, digestBytes * (index + 1))}`;
  }
}
