import type { Digest } from '../core/digest.ts';
import type { BundleBlob } from './inventory.ts';
import type { LongList } from './long-list.ts';
import { NumberList } from './number-list.ts';
import { TextMap } from './text-map.ts';

const digestBytes = 32;

/** What each file of a bundle is, by its path: sha256 and size. */
export class FileDigests {
  readonly #indexes = new TextMap();
  readonly #digests: Buffer;
  readonly #sizes = new NumberList();

  constructor(blobs: LongList<BundleBlob>) {
    this.#digests = Buffer.alloc(digestBytes * blobs.length);
    let index = 0;
    for (const { path, digest, size } of blobs) {
      this.#digests.write(digest.slice('sha256:'.length), digestBytes * index, 'hex');
      this.#sizes.push(size);
      this.#indexes.set(path, index);
      index += 1;
    }
  }

  get(path: string): { digest: Digest; size: number } | undefined {
    const index = this.#indexes.get(path);
    if (index === undefined) return undefined;
    const hex = this.#digests.toString('hex', digestBytes * index, digestBytes * (index + 1));
    return { digest: `sha256:${hex}`, size: this.#sizes.values[index] ?? 0 };
  }
}
