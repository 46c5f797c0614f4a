import type { Digest } from '../../core/digest.ts';
import { KeyedQueue } from '../../core/limit.ts';
import { SharedPause } from '../../http/retry.ts';

/** What a run has learnt of one registry host. Source and target side of the host share it, and so do all repositories. */
export class HostFacts {
  readonly blobs = new BlobPlaces();
  readonly uploads = new UploadLimits();
  readonly manifests = new RecentManifests();
  /** Begun by an answer that told one request to wait; it holds for all of them. */
  readonly pause = new SharedPause();
  /** Whether there is a referrers API; undefined until it was asked for. */
  referrersApi: boolean | undefined;
  /** Lets one request find out what many would ask. */
  readonly asking = new KeyedQueue();
}

/** More sources to mount one blob from help nobody. */
const maxPlaces = 4;

/** Which repositories of a host hold which blob, so that it can be mounted instead of moved. */
class BlobPlaces {
  readonly #places = new Map<Digest, string[]>();
  readonly #refused = new Set<string>();

  /** The repository was seen to hold the blob, or is about to be read from as if it did. */
  note(digest: Digest, repository: string): void {
    const places = this.#places.get(digest) ?? [];
    if (places.includes(repository) || places.length >= maxPlaces) return;
    this.#places.set(digest, [...places, repository]);
  }

  /** A repository to mount the blob from; undefined when there is none that may be tried. */
  mountFrom(digest: Digest, into: string): string | undefined {
    return this.#places.get(digest)?.find((from) => from !== into && !this.#refused.has(`${from} ${into}`));
  }

  /** The registry does not let `into` have blobs of `from`: not tried again. */
  refuse(from: string, into: string): void {
    this.#refused.add(`${from} ${into}`);
  }
}

const mebi = 1024 * 1024;
/** GHCR takes no larger ones. */
const firstChunk = 4 * mebi;
const smallestChunk = mebi;
const largestChunk = 64 * mebi;

/** How much of a blob a host takes in one request. */
class UploadLimits {
  #refused = Infinity;
  #chunk = firstChunk;

  /** Whether a blob of that size may be sent as one body. */
  takesWhole(size: number): boolean {
    return size < this.#refused;
  }

  /** Bytes of a chunk, for blobs that are not taken whole. */
  get chunk(): number {
    return this.#chunk;
  }

  /** One body of that size was too much. */
  refuseWhole(size: number): void {
    this.#refused = Math.min(this.#refused, size);
  }

  /** @param text value of `OCI-Chunk-Min-Length` */
  noteSmallest(text: string | undefined): void {
    if (text !== undefined && /^\d{1,12}$/.test(text)) this.#chunk = Math.max(this.#chunk, Number(text));
  }

  /** Chunks of that size are too large. @returns whether smaller ones may be tried */
  shrink(size: number): boolean {
    if (size <= smallestChunk) return false;
    this.#chunk = Math.max(smallestChunk, Math.min(this.#chunk, Math.floor(size / 2)));
    return true;
  }

  /** Chunks of that size are too small. @returns whether larger ones may be tried */
  grow(size: number): boolean {
    if (size >= largestChunk) return false;
    this.#chunk = Math.min(largestChunk, Math.max(this.#chunk, size * 2));
    return true;
  }
}

/** In bytes, of one host. */
const recentLimit = 8 * mebi;

/** Manifests that were pushed a short while ago: what is tagged next is mostly among them. */
class RecentManifests {
  readonly #kept = new Map<Digest, { bytes: Buffer; mediaType: string }>();
  #size = 0;

  get(digest: Digest): { bytes: Buffer; mediaType: string } | undefined {
    return this.#kept.get(digest);
  }

  /** Lets the oldest go when there are too many. */
  keep(digest: Digest, bytes: Buffer, mediaType: string): void {
    this.#drop(digest);
    this.#kept.set(digest, { bytes, mediaType });
    this.#size += bytes.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#size <= recentLimit) return;
      this.#drop(oldest);
    }
  }

  #drop(digest: Digest): void {
    this.#size -= this.#kept.get(digest)?.bytes.length ?? 0;
    this.#kept.delete(digest);
  }
}
