import type { Digest } from '../../core/digest.ts';
import { DigestList } from './digest-list.ts';
import type { BundleBlob } from '../records/inventory.ts';
import { NumberList } from './number-list.ts';
import { TextMap } from './text-map.ts';

/** What each file of a bundle is, by its path: sha256 and size. */
export class FileDigests {
  readonly #indexes = new TextMap();
  readonly #digests = new DigestList();
  readonly #sizes = new NumberList();

  constructor(blobs: Iterable<BundleBlob>) {
    for (const { path, digest, size } of blobs) {
      this.#indexes.set(path, this.#digests.length);
      this.#digests.push(digest);
      this.#sizes.push(size);
    }
  }

  get(path: string): { digest: Digest; size: number } | undefined {
    const index = this.#indexes.get(path);
    const digest = index === undefined ? undefined : this.#digests.at(index);
    if (index === undefined || digest === undefined) return undefined;
    return { digest, size: this.#sizes.values[index] ?? 0 };
  }
}
