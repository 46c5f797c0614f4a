import type { Digest } from '../core/digest.ts';
import type { BundleBlob } from './inventory.ts';
import type { LongList } from './long-list.ts';
import { TextMap } from './text-map.ts';

/** The files of a bundle by their paths and digests. */
export class BlobIndex {
  readonly #blobs: LongList<BundleBlob>;
  readonly #paths = new TextMap();
  readonly #digests = new TextMap();

  /** @param isHere which of several files with the same digest is preferred */
  constructor(blobs: LongList<BundleBlob>, isHere: (blob: BundleBlob) => boolean = () => true) {
    this.#blobs = blobs;
    let index = 0;
    for (const blob of blobs) {
      this.#paths.set(blob.path, index);
      if (!this.#digests.has(blob.digest) || isHere(blob)) this.#digests.set(blob.digest, index);
      index += 1;
    }
  }

  byPath(path: string): BundleBlob | undefined {
    const blob = this.#blobs.at(this.#paths.get(path) ?? this.#blobs.length);
    return blob?.path === path ? blob : undefined;
  }

  /** For each digest what `make` makes of its file; they are looked up in the order in which they lie, which is quicker. */
  eachByDigest<R>(digests: readonly Digest[], make: (blob: BundleBlob) => R): (R | undefined)[] {
    const made: (R | undefined)[] = digests.map(() => undefined);
    const indexes = Float64Array.from(digests, (digest) => this.#digests.get(digest) ?? this.#blobs.length);
    const order = Uint32Array.from(digests.keys()).sort((a, b) => (indexes[a] ?? 0) - (indexes[b] ?? 0));
    for (const at of order) {
      const blob = this.#blobs.at(indexes[at] ?? 0);
      if (blob && blob.digest === digests[at]) made[at] = make(blob);
    }
    return made;
  }

  byDigest(digest: Digest): BundleBlob | undefined {
    const blob = this.#blobs.at(this.#digests.get(digest) ?? this.#blobs.length);
    return blob?.digest === digest ? blob : undefined;
  }
}
