import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** sha256 of a file that was seen once from its first byte to its last; then it need not be read again. */
export class Seen {
  readonly #hash = createHash('sha256');
  #bytes = 0;

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
  }

  /** Undefined when it was not: what a broken run left may have been seen before the rest came again. */
  sha256(size: number): string | undefined {
    return this.#bytes === size ? this.#hash.digest('hex') : undefined;
  }
}

/** Of a file that is small. */
export async function sha256OfFile(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
