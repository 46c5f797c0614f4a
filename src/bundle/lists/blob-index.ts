import type { Digest } from '../../core/digest.ts';
import type { BundleBlob } from '../records/inventory.ts';
import type { LongList } from './long-list.ts';
import { TextMap } from './text-map.ts';

/** Digests that are looked for: there may be very many. */
export interface WantedDigests {
  readonly length: number;
  at(index: number): Digest | undefined;
}

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
  eachByDigest<R>(digests: WantedDigests, make: (blob: BundleBlob) => R): (R | undefined)[] {
    const made: (R | undefined)[] = Array.from({ length: digests.length }, () => undefined);
    const indexes = Float64Array.from(made, (_, at) => this.#digests.get(digests.at(at) ?? '') ?? this.#blobs.length);
    const order = Uint32Array.from(made, (_, at) => at).sort((a, b) => (indexes[a] ?? 0) - (indexes[b] ?? 0));
    for (const at of order) {
      const blob = this.#blobs.at(indexes[at] ?? 0);
      if (blob && blob.digest === digests.at(at)) made[at] = make(blob);
    }
    return made;
  }

  byDigest(digest: Digest): BundleBlob | undefined {
    const blob = this.#blobs.at(this.#digests.get(digest) ?? this.#blobs.length);
    return blob?.digest === digest ? blob : undefined;
  }
}
