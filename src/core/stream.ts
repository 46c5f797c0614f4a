import { createHash, type Hash } from 'node:crypto';
import { releaseChunk } from './chunk-pool.ts';
import { totalSize } from './descriptor.ts';
import { type Checksum, checksumOf, type Digest, formatChecksum, openHash } from './digest.ts';
import { MirrorError } from './errors.ts';
import type { Content } from './ports.ts';

/** Manifests and other metadata are hostile input: more than this is refused. */
export const metadataLimit = 4 * 1024 * 1024;

/** What bytes must turn out to be. */
export interface Expectation {
  size: number;
  checksum: Checksum;
  /** For messages. */
  item: string;
}

/** @param item for messages; mostly the digest is all that is known */
export function expectationOf({ digest, size }: { digest: Digest; size: number }, item: string = digest): Expectation {
  return { size, checksum: checksumOf(digest), item };
}

/** The same where nobody can say a checksum before the bytes have passed. */
export type Announcement = Omit<Expectation, 'checksum'> & { checksum?: Checksum | undefined };

/**
 * Passes bytes on and checks size and checksum. The last chunk is held back until the check has passed, so a receiver
 * that counts bytes can never finish with wrong ones.
 * @throws E_SIZE_MISMATCH, E_DIGEST_MISMATCH
 */
export async function* verified(bytes: AsyncIterable<Uint8Array>, expected: Expectation): AsyncGenerator<Uint8Array> {
  const check = new Check(expected);
  let held: Uint8Array | undefined;
  for await (const chunk of bytes) {
    check.update(chunk);
    if (held) yield held;
    held = chunk;
  }
  check.finish();
  if (held) yield held;
}

/** Size and checksum of bytes that pass by; may start in the middle when the first part was hashed before. */
export class Check {
  readonly #expected: Announcement;
  readonly #hash: Hash;
  #seen: number;

  /** @param expected without a checksum the sha256 is found out, and held to nothing */
  constructor(
    expected: Announcement,
    hash = openHash(expected.checksum?.algorithm ?? 'sha256', expected.size),
    seen = 0,
  ) {
    this.#expected = expected;
    this.#hash = hash;
    this.#seen = seen;
  }

  /** The state as it is now; what is told to one of the two the other does not learn. */
  copy(): Check {
    return new Check(this.#expected, this.#hash.copy(), this.#seen);
  }

  get seen(): number {
    return this.#seen;
  }

  /** @throws E_SIZE_MISMATCH as soon as there is one byte too many */
  update(chunk: Uint8Array): void {
    this.#seen += chunk.length;
    const { size, item } = this.#expected;
    if (this.#seen > size)
      throw new MirrorError('E_SIZE_MISMATCH', `\`${item}\` is longer than the ${size} bytes that were announced`);
    this.#hash.update(chunk);
  }

  /** @returns what the checksum is @throws E_SIZE_MISMATCH, E_DIGEST_MISMATCH */
  finish(): Checksum {
    const { size, item, checksum } = this.#expected;
    if (this.#seen !== size)
      throw new MirrorError('E_SIZE_MISMATCH', `\`${item}\` has ${this.#seen} bytes, ${size} were announced`);
    const found: Checksum = { algorithm: checksum?.algorithm ?? 'sha256', hex: this.#hash.digest('hex') };
    if (checksum && found.hex !== checksum.hex)
      throw new MirrorError(
        'E_DIGEST_MISMATCH',
        `\`${item}\` has digest \`${formatChecksum(found)}\`, wanted \`${formatChecksum(checksum)}\``,
      );
    return found;
  }
}

/** @throws E_SIZE_MISMATCH when there are more than `limit` bytes */
export async function readAll(
  bytes: AsyncIterable<Uint8Array>,
  limit = metadataLimit,
  item = 'document',
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > limit)
      throw new MirrorError(
        'E_SIZE_MISMATCH',
        `\`${item}\` is larger than ${limit} bytes, the most that is read of a document`,
      );
    chunks.push(chunk);
  }
  const [only] = chunks;
  if (only && chunks.length === 1) return Buffer.from(only.buffer, only.byteOffset, only.length);
  const all = Buffer.concat(chunks);
  for (const chunk of chunks) releaseChunk(chunk);
  return all;
}

/** The whole of a small content, verified. */
export async function readVerified(content: Content, expected: Expectation, signal?: AbortSignal): Promise<Buffer> {
  return readAll(verified(content.open(0, signal), expected), Math.max(expected.size, 1), expected.item);
}

/** The digest of bytes that nobody needs to keep. */
export async function sha256Of(bytes: AsyncIterable<Uint8Array>): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of bytes) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** Bytes in memory as Content. */
export function contentOf(bytes: Uint8Array): Content {
  return {
    size: bytes.length,
    async *open(offset) {
      await Promise.resolve();
      if (offset < bytes.length) yield bytes.subarray(offset);
    },
  };
}

/** The same content; every byte that passes is told to `count`. */
export function counted(content: Content, count: (bytes: number) => void): Content {
  return {
    size: content.size,
    async *open(offset, signal) {
      for await (const chunk of content.open(offset, signal)) {
        count(chunk.length);
        yield chunk;
      }
    },
  };
}

/** The same content; what goes wrong while it is read is thrown as what `explain` makes of it. */
export function explained(content: Content, explain: (error: unknown) => unknown): Content {
  return {
    size: content.size,
    async *open(offset, signal, end) {
      try {
        yield* content.open(offset, signal, end);
      } catch (error) {
        throw await explain(error);
      }
    },
  };
}

/** The same content, whose first bytes can be sent for before anybody reads them. */
export class AheadContent implements Content {
  readonly size: number;
  readonly #content: Content;
  #ahead: { bytes: AsyncIterator<Uint8Array>; first: Promise<IteratorResult<Uint8Array>> } | undefined;

  constructor(content: Content) {
    this.size = content.size;
    this.#content = content;
  }

  /** Opens it at its beginning; whoever reads from there gets these bytes, and hears if they do not come. */
  start(signal?: AbortSignal): void {
    if (this.#ahead) return;
    const bytes = this.#content.open(0, signal)[Symbol.asyncIterator]();
    const first = bytes.next();
    first.catch(() => {});
    this.#ahead = { bytes, first };
  }

  async *open(offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const ahead = offset === 0 ? this.#ahead : undefined;
    if (!ahead) {
      yield* this.#content.open(offset, signal);
      return;
    }
    this.#ahead = undefined;
    try {
      for (let next = await ahead.first; !next.done; next = await ahead.bytes.next()) yield next.value;
    } finally {
      await ahead.bytes.return?.();
    }
  }

  /** Lets go of what nobody came for. */
  drop(): void {
    this.#ahead?.bytes.return?.().catch(() => {});
    this.#ahead = undefined;
  }
}

/** Contents one after the other. */
export function joined(contents: readonly Content[]): Content {
  return {
    size: totalSize(contents),
    async *open(offset, signal) {
      let skip = offset;
      for (const content of contents) {
        if (skip < content.size) yield* content.open(skip, signal);
        skip = Math.max(0, skip - content.size);
      }
    },
  };
}
