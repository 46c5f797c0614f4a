import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Gunzip, Inflate, InflateRaw } from 'node:zlib';
import type { ByteRanges } from './byte-ranges.ts';

const inputBytes = 64 * 1024;

/** How many bytes may still be inflated of one file; all its members share it. */
export interface InflateBudget {
  inflated: number;
}

/**
 * Ends where the compressed bytes end or stop making sense.
 * @param onFault told in the latter case
 */
export async function* inflated(
  bytes: ByteRanges,
  budget: InflateBudget,
  inflate: InflateRaw | Inflate | Gunzip,
  onFault: () => void = () => {},
): AsyncGenerator<Uint8Array> {
  const done = pipeline(Readable.from(piecesOf(bytes)), inflate).catch(() => {});
  try {
    for await (const chunk of inflate as AsyncIterable<Buffer>) {
      budget.inflated -= chunk.length;
      yield chunk;
      if (budget.inflated < 0) return;
    }
  } catch (error) {
    if (!String((error as NodeJS.ErrnoException).code).startsWith('Z_')) throw error;
    onFault();
  } finally {
    inflate.destroy();
    await done;
  }
}

async function* piecesOf(bytes: ByteRanges): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < bytes.size; offset += inputBytes) yield await bytes.read(offset, inputBytes);
}
