import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, sha256 } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { Content, ContentSource } from '../core/ports.ts';
import { contentOf } from '../core/stream.ts';

/** An image that is put together here: its documents in memory, its blobs wherever they are. */
export class AssembledImage implements ContentSource {
  readonly #contents = new Map<Digest, Content>();

  /** Something whose digest is known. @returns the descriptor */
  add(descriptor: Descriptor, content: Content): Descriptor {
    this.#contents.set(descriptor.digest, content);
    return descriptor;
  }

  /** A config or manifest; always the same bytes for the same document. */
  addDocument(mediaType: string, document: unknown, more: Partial<Descriptor> = {}): Descriptor {
    const bytes = Buffer.from(JSON.stringify(document));
    return this.add({ ...more, mediaType, digest: sha256(bytes), size: bytes.length }, contentOf(bytes));
  }

  /** It has no names. @throws E_NOT_FOUND */
  async resolve(reference: string): Promise<Descriptor> {
    return Promise.reject(missing(reference));
  }

  async fetch({ digest }: Descriptor): Promise<Content> {
    const content = this.#contents.get(digest);
    return content ? Promise.resolve(content) : Promise.reject(missing(digest));
  }

  async exists({ digest }: Descriptor): Promise<boolean> {
    return Promise.resolve(this.#contents.has(digest));
  }

  async referrers(): Promise<Descriptor[]> {
    return Promise.resolve([]);
  }

  async tags(): Promise<string[]> {
    return Promise.resolve([]);
  }
}

function missing(item: string): MirrorError {
  return new MirrorError('E_NOT_FOUND', `\`${item}\` is no part of this image`, { at: { side: 'source', item } });
}
