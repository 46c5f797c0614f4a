import { MirrorError } from '../../core/errors.ts';
import { Budget } from '../../core/limit.ts';
import type { Content } from '../../core/ports.ts';

/** Bytes of a known size of which any piece can be had: a file is looked into without reading all of it. */
export interface ByteRanges {
  readonly size: number;
  /** Fewer bytes than asked for come only where the bytes end. */
  read(offset: number, length: number): Promise<Buffer>;
}

/** Pieces of a content, each by an opening of its own that asks for no more. Reading throws E_SIZE_MISMATCH for one that ends early. */
export function rangesOf(content: Content, signal?: AbortSignal): ByteRanges {
  return {
    size: content.size,
    async read(offset, length) {
      const wanted = Math.min(length, content.size - offset);
      if (wanted <= 0) return Buffer.alloc(0);
      const chunks: Uint8Array[] = [];
      let seen = 0;
      for await (const chunk of content.open(offset, signal, offset + wanted)) {
        chunks.push(chunk);
        seen += chunk.length;
        // What ends by itself leaves its connection to the next reader.
        if (seen > wanted) break;
      }
      if (seen < wanted)
        throw new MirrorError('E_SIZE_MISMATCH', `${wanted} bytes from ${offset} were wanted, ${seen} came`);
      return Buffer.concat(chunks).subarray(0, wanted);
    },
  };
}

/** Files are looked into side by side; what some of them want to have in memory at once is bounded for all. */
const largeBytes = new Budget(112 * 1024 * 1024);

/** Does work that holds so many bytes of a file in memory, when there is room for them. */
export async function holding<T>(bytes: number, work: () => Promise<T>): Promise<T> {
  await largeBytes.take(bytes);
  try {
    return await work();
  } finally {
    largeBytes.give(bytes);
  }
}

const pageBytes = 64 * 1024;
const pagesKept = 8;

/** The same bytes, read by whole pages of which the latest are kept: headers and directories are read piece by piece. */
export function paged(ranges: ByteRanges): ByteRanges {
  const pages = new Map<number, Promise<Buffer>>();
  const page = (index: number): Promise<Buffer> => {
    const found = pages.get(index) ?? ranges.read(index * pageBytes, pageBytes);
    pages.delete(index);
    pages.set(index, found);
    const [oldest] = pages.keys();
    if (pages.size > pagesKept && oldest !== undefined) pages.delete(oldest);
    return found;
  };
  return {
    size: ranges.size,
    async read(offset, length) {
      const end = Math.min(offset + length, ranges.size);
      if (end <= offset) return Buffer.alloc(0);
      const first = Math.floor(offset / pageBytes);
      const last = Math.floor((end - 1) / pageBytes);
      if (last - first > 1) return ranges.read(offset, end - offset);
      const parts = [await page(first)];
      if (last > first) parts.push(await page(last));
      const start = first * pageBytes;
      return Buffer.concat(parts).subarray(offset - start, end - start);
    },
  };
}

/** A piece of other bytes as bytes of their own. */
export function sliceOf(ranges: ByteRanges, start: number, size: number): ByteRanges {
  const held = Math.max(0, Math.min(size, ranges.size - start));
  return {
    size: held,
    read: (offset, length) => ranges.read(start + offset, Math.max(0, Math.min(length, held - offset))),
  };
}
