import { createGunzip, createInflate } from 'node:zlib';
import { ByteCursor, windowsOfStream } from './byte-cursor.ts';
import type { ByteRanges } from './byte-ranges.ts';
import type { FileFindings } from './findings.ts';
import { inflated } from './inflate.ts';
import { pickleBudget } from './pickle.ts';
import { inspectStream, streamHeadBytes } from './stream-safety.ts';

/** A larger one is not fetched to be looked into. */
const maxDistantBytes = 4 * 1024 * 1024;

const maxInflated = 512 * 1024 * 1024;

/**
 * Looks into a file that is compressed by gzip or zlib, as joblib and pandas write them.
 * @param isDistant the whole file has to be fetched for this
 * @returns false when it is compressed in another way, or too large
 */
export async function inspectCompressed(
  path: string,
  bytes: ByteRanges,
  head: Buffer,
  found: FileFindings,
  isDistant: boolean,
  mostInflated = maxInflated,
): Promise<boolean> {
  const isGzip = head[0] === 0x1f && head[1] === 0x8b;
  if ((!isGzip && head[0] !== 0x78) || (isDistant && bytes.size > maxDistantBytes)) return false;
  const inflate = isGzip ? createGunzip() : createInflate();
  const budget = { ...pickleBudget(), inflated: mostInflated };
  let isDamaged = false;
  const stream = inflated(isDistant ? await held(bytes) : bytes, budget, inflate, () => {
    isDamaged = true;
  });
  try {
    const cursor = new ByteCursor(windowsOfStream(stream));
    await cursor.fill(streamHeadBytes);
    if (isDamaged && cursor.ahead === 0) return false;
    const name = path.replace(/\.(?:gz|z)$/i, '');
    await inspectStream(cursor, { name, size: Number.MAX_SAFE_INTEGER }, found, 'is compressed, and ', budget);
    // What stands behind is read on by some.
    while (cursor.ahead > 0 || (await cursor.fill(1))) cursor.skip(cursor.ahead);
  } finally {
    await stream.return(undefined);
  }
  if (budget.inflated < 0) found.add('danger', 'member-not-read', 'inflates to more than is looked through');
  else if (isDamaged) found.add('danger', 'archive-not-read', 'is compressed, and cannot be inflated to its end');
  else if (inflate.bytesWritten < bytes.size)
    found.add('danger', 'archive-not-read', 'has bytes behind what is compressed');
  return true;
}

/** Inflating asks for many pieces, one after the other. */
async function held(bytes: ByteRanges): Promise<ByteRanges> {
  const all = await bytes.read(0, bytes.size);
  return { size: all.length, read: (offset, length) => Promise.resolve(all.subarray(offset, offset + length)) };
}
