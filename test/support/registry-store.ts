import { digestOf } from './digest.ts';

export interface StoredManifest {
  mediaType: string;
  bytes: Uint8Array;
}

/** What a registry holds under one name. */
export class StoredRepository {
  readonly blobs = new Map<string, Uint8Array>();
  readonly manifests = new Map<string, StoredManifest>();
  readonly tags = new Map<string, string>();

  /** The digest behind a tag or a digest; undefined if there is no such manifest. */
  resolve(reference: string): string | undefined {
    const digest = this.tags.get(reference) ?? reference;
    return this.manifests.has(digest) ? digest : undefined;
  }

  /** The same once more, bytes included. */
  copy(): StoredRepository {
    const copy = new StoredRepository();
    for (const [digest, bytes] of this.blobs) copy.blobs.set(digest, Uint8Array.from(bytes));
    for (const [digest, { mediaType, bytes }] of this.manifests)
      copy.manifests.set(digest, { mediaType, bytes: Uint8Array.from(bytes) });
    for (const [tag, digest] of this.tags) copy.tags.set(tag, digest);
    return copy;
  }

  /** Keeps a manifest under its digest, and under a tag if the reference is one. */
  putManifest(reference: string, manifest: StoredManifest): string {
    const isTag = !reference.includes(':');
    const digest = isTag ? digestOf(manifest.bytes) : reference;
    this.manifests.set(digest, manifest);
    if (isTag) this.tags.set(reference, digest);
    return digest;
  }

  /** Deleting a digest takes its tags along; deleting a tag leaves the manifest. */
  deleteManifest(reference: string): boolean {
    if (this.tags.delete(reference)) return true;
    for (const [tag, digest] of this.tags) if (digest === reference) this.tags.delete(tag);
    return this.manifests.delete(reference);
  }
}

/** All that a registry holds, in memory; blobs belong to a repository, as in a real one. */
export class RegistryStore {
  readonly #repositories = new Map<string, StoredRepository>();

  find(name: string): StoredRepository | undefined {
    return this.#repositories.get(name);
  }

  /** The repository, which comes into being when something is first put into it. */
  open(name: string): StoredRepository {
    const repository = this.#repositories.get(name) ?? new StoredRepository();
    this.#repositories.set(name, repository);
    return repository;
  }

  replace(name: string, repository: StoredRepository): void {
    this.#repositories.set(name, repository);
  }

  names(): string[] {
    return [...this.#repositories.keys()].toSorted();
  }
}
