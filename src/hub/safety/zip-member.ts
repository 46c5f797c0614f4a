import { createInflateRaw } from 'node:zlib';
import { ByteCursor, windowsOf, windowsOfStream } from './byte-cursor.ts';
import { type ByteRanges, sliceOf } from './byte-ranges.ts';
import { type InflateBudget, inflated } from './inflate.ts';
import type { ZipEntry } from './zip-directory.ts';

/** Why a member cannot be read: another reader may read something else, or nothing can be read at all. */
export type MemberFault = 'encrypted' | 'unknown-compression' | 'header-differs';

/** A member's bytes from its first one on; `close` ends what still runs. */
export interface OpenMember {
  cursor: ByteCursor;
  close: () => Promise<void>;
}

const stored = 0;
const deflated = 8;
const headerBytes = 30;

/** Opens a member where it stands, inflating it while it is read. */
export async function openMember(
  ranges: ByteRanges,
  entry: ZipEntry,
  budget: InflateBudget,
): Promise<OpenMember | MemberFault> {
  if (entry.isEncrypted) return 'encrypted';
  if (entry.method !== stored && entry.method !== deflated) return 'unknown-compression';
  const start = await startOfMember(ranges, entry);
  if (start === undefined) return 'header-differs';
  const slice = sliceOf(ranges, start, entry.compressedSize);
  if (entry.method === stored)
    return entry.size === entry.compressedSize
      ? { cursor: new ByteCursor(windowsOf(slice)), close: () => Promise.resolve() }
      : 'header-differs';
  const stream = inflated(slice, budget, createInflateRaw());
  return {
    cursor: new ByteCursor(windowsOfStream(stream)),
    close: async () => {
      await stream.return(undefined);
    },
  };
}

/** Undefined when the local header says something else than the directory: which of the two counts is up to the reader. */
async function startOfMember(ranges: ByteRanges, entry: ZipEntry): Promise<number | undefined> {
  if (entry.offset < 0 || entry.offset + headerBytes > ranges.size) return undefined;
  const header = await ranges.read(entry.offset, headerBytes);
  const nameBytes = header.readUInt16LE(26);
  const name = await ranges.read(entry.offset + headerBytes, nameBytes);
  const same =
    header.toString('latin1', 0, 4) === 'PK\u0003\u0004' &&
    header.readUInt16LE(8) === entry.method &&
    (header.readUInt16LE(6) & 1) === 0 &&
    name.toString('utf8') === entry.name;
  return same ? entry.offset + headerBytes + nameBytes + header.readUInt16LE(28) : undefined;
}
