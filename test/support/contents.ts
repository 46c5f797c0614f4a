import type { Descriptor } from '../../src/core/descriptor.ts';
import { sha256 } from '../../src/core/digest.ts';
import type { Content } from '../../src/core/ports.ts';

/** What the bytes are said to be; the media type is that of a layer. */
export function blobOf(bytes: Uint8Array): Descriptor {
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: sha256(bytes), size: bytes.length };
}

/** Yields the pieces one after the other. */
export async function* pieces(...chunks: readonly (Uint8Array | string)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) {
    await Promise.resolve();
    yield Buffer.from(chunk);
  }
}

/** Bytes in chunks of some size, from an offset on. */
async function* chunked(bytes: Uint8Array, offset: number, size: number): AsyncGenerator<Uint8Array> {
  for (let start = offset; start < bytes.length; start += size) {
    await Promise.resolve();
    yield bytes.subarray(start, start + size);
  }
}

/** Content that notes where it was opened, and fails when `broken` gives an error for a position. */
export function watchedContent(
  bytes: Uint8Array,
  options: { chunk?: number; broken?: (position: number, opening: number) => Error | undefined } = {},
): Content & { opened: number[] } {
  const opened: number[] = [];
  return {
    size: bytes.length,
    opened,
    async *open(offset, signal) {
      opened.push(offset);
      const opening = opened.length;
      let position = offset;
      for await (const chunk of chunked(bytes, offset, options.chunk ?? 64 * 1024)) {
        signal?.throwIfAborted();
        const error = options.broken?.(position, opening);
        if (error) throw error;
        yield chunk;
        position += chunk.length;
      }
    },
  };
}

/** All bytes of a stream. */
export async function collect(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** All items of a stream. */
export async function collectItems<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
