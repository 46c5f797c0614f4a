import { type ByteRanges, holding } from './byte-ranges.ts';

/** A member of a zip as the directory at its end names it. */
export interface ZipEntry {
  name: string;
  method: number;
  isEncrypted: boolean;
  compressedSize: number;
  size: number;
  /** Of its local header, from the first byte of the file. */
  offset: number;
}

/** What is odd about a zip: each is a way to make two readers see two different things. */
export type ZipFault =
  | 'no-directory'
  | 'damaged-directory'
  | 'too-large-directory'
  | 'data-before'
  | 'data-after'
  | 'second-directory'
  | 'duplicate-names'
  | 'cut-names'
  | 'overlapping-members'
  | 'several-disks';

export interface ZipDirectory {
  entries: ZipEntry[];
  faults: ZipFault[];
}

const endSignature = Buffer.from('PK\u0005\u0006', 'latin1');
const endBytes = 22;
const maxComment = 65_535;
const locatorBytes = 20;
const end64Bytes = 56;
const maxDirectory = 64 * 1024 * 1024;
const maxEntries = 200_000;
const unset = 0xffff_ffff;

/** Whether a directory of a zip ends the bytes, whatever they begin with. */
export async function hasZipEnd(ranges: ByteRanges): Promise<boolean> {
  for (const { position, size, offset } of (await findEnds(ranges)).ends)
    if ((await startsEntry(ranges, position - size)) || (await startsEntry(ranges, offset))) return true;
  return false;
}

/**
 * Reads the central directory: a few ranges at the end of the file, also with zip64. Where readers would not agree which
 * directory that is, all of them are read.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
export async function readZipDirectory(ranges: ByteRanges): Promise<ZipDirectory> {
  const { ends, faults } = await findEnds(ranges);
  if (ends.length === 0) faults.add('no-directory');
  if (ends.length > 1) faults.add('second-directory');
  const entries: ZipEntry[] = [];
  for (const end of ends) await readDirectory(ranges, end, entries, faults);
  if (new Set(entries.map(({ name }) => name)).size < entries.length) faults.add('duplicate-names');
  // Python ends a name there, others do not.
  if (entries.some(({ name }) => name.includes('\u0000'))) faults.add('cut-names');
  return { entries, faults: [...faults] };
}

interface ZipEnd {
  /** Where the end records begin, which is where the directory ends. */
  position: number;
  /** Of the directory, as written. */
  offset: number;
  size: number;
}

async function readDirectory(
  ranges: ByteRanges,
  end: ZipEnd,
  entries: ZipEntry[],
  faults: Set<ZipFault>,
): Promise<void> {
  const start = end.position - end.size;
  if (start < 0) {
    faults.add('damaged-directory');
    return;
  }
  const prefix = start - end.offset;
  if (prefix !== 0) faults.add('data-before');
  const found: ZipEntry[] = [];
  await readEntries(ranges, start, end.size, prefix, found, faults);
  // Readers that take the offset as it is written come to another place, where another directory may stand.
  if (prefix !== 0 && (await startsEntry(ranges, end.offset))) {
    faults.add('second-directory');
    await readEntries(ranges, end.offset, Math.min(end.size, ranges.size - end.offset), 0, found, faults);
  }
  if (overlap(found, start)) faults.add('overlapping-members');
  for (const entry of found) entries.push(entry);
}

/**
 * The last end record is the one that miniz and Python take, whatever it says of its comment. One before it counts for
 * readers that want the comment to end the file.
 */
async function findEnds(ranges: ByteRanges): Promise<{ ends: ZipEnd[]; faults: Set<ZipFault> }> {
  const tailStart = Math.max(0, ranges.size - endBytes - maxComment);
  const tail = await ranges.read(tailStart, ranges.size - tailStart);
  const ends: ZipEnd[] = [];
  const faults = new Set<ZipFault>();
  let at = tail.length - endBytes < 0 ? -1 : tail.lastIndexOf(endSignature, tail.length - endBytes);
  for (let isLast = true; at >= 0; isLast = false) {
    const after = tail.length - at - endBytes - tail.readUInt16LE(at + 20);
    if (isLast && after > 0) faults.add('data-after');
    if (isLast && after < 0) faults.add('damaged-directory');
    if (isLast || after === 0) ends.push(...(await readEnd(ranges, tail, tailStart, at, faults)));
    at = at === 0 ? -1 : tail.lastIndexOf(endSignature, at - 1);
  }
  return { ends, faults };
}

/** An end record, or the zip64 records before it: several where it is up to the reader which one counts. */
async function readEnd(
  ranges: ByteRanges,
  tail: Buffer,
  tailStart: number,
  at: number,
  faults: Set<ZipFault>,
): Promise<ZipEnd[]> {
  const position = tailStart + at;
  const plain: ZipEnd = { position, size: tail.readUInt32LE(at + 12), offset: tail.readUInt32LE(at + 16) };
  const large = await readEnds64(ranges, position, faults);
  if (large.length === 0) {
    if (tail.readUInt16LE(at + 4) !== tail.readUInt16LE(at + 6)) faults.add('several-disks');
    return [plain];
  }
  const isSet = plain.size !== unset && plain.offset !== unset;
  const isOther = large.some(({ size, offset }) => size !== plain.size || offset !== plain.offset);
  return isSet && isOther ? [...large, plain] : large;
}

/** Some readers go where the locator leads, others to what stands right before it. */
async function readEnds64(ranges: ByteRanges, end: number, faults: Set<ZipFault>): Promise<ZipEnd[]> {
  if (end < locatorBytes + end64Bytes) return [];
  const locator = await ranges.read(end - locatorBytes, locatorBytes);
  if (locator.toString('latin1', 0, 4) !== 'PK\u0006\u0007') return [];
  const found: ZipEnd[] = [];
  for (const position of new Set([Number(locator.readBigUInt64LE(8)), end - locatorBytes - end64Bytes])) {
    const record = position + end64Bytes <= ranges.size ? await ranges.read(position, end64Bytes) : Buffer.alloc(0);
    if (record.length < end64Bytes || record.toString('latin1', 0, 4) !== 'PK\u0006\u0006') continue;
    if (record.readUInt32LE(16) !== record.readUInt32LE(20)) faults.add('several-disks');
    found.push({ position, size: Number(record.readBigUInt64LE(40)), offset: Number(record.readBigUInt64LE(48)) });
  }
  return found;
}

async function startsEntry(ranges: ByteRanges, offset: number): Promise<boolean> {
  return offset >= 0 && offset < ranges.size && (await ranges.read(offset, 4)).toString('latin1') === 'PK\u0001\u0002';
}

async function readEntries(
  ranges: ByteRanges,
  start: number,
  size: number,
  prefix: number,
  entries: ZipEntry[],
  faults: Set<ZipFault>,
): Promise<void> {
  if (size > maxDirectory) {
    faults.add('too-large-directory');
    return;
  }
  await holding(size, async () => parseDirectory(await ranges.read(start, size), prefix, entries, faults));
}

function parseDirectory(directory: Buffer, prefix: number, entries: ZipEntry[], faults: Set<ZipFault>): void {
  let at = 0;
  while (at < directory.length) {
    if (entries.length >= maxEntries) {
      faults.add('too-large-directory');
      return;
    }
    const entry = parseEntry(directory, at, prefix);
    if (!entry) {
      faults.add('damaged-directory');
      return;
    }
    entries.push(entry.found);
    at = entry.end;
  }
}

function parseEntry(directory: Buffer, at: number, prefix: number): { found: ZipEntry; end: number } | undefined {
  if (at + 46 > directory.length || directory.toString('latin1', at, at + 4) !== 'PK\u0001\u0002') return undefined;
  const nameEnd = at + 46 + directory.readUInt16LE(at + 28);
  const extraEnd = nameEnd + directory.readUInt16LE(at + 30);
  const end = extraEnd + directory.readUInt16LE(at + 32);
  if (end > directory.length) return undefined;
  const found: ZipEntry = {
    name: directory.toString('utf8', at + 46, nameEnd),
    method: directory.readUInt16LE(at + 10),
    isEncrypted: (directory.readUInt16LE(at + 8) & 1) !== 0,
    compressedSize: directory.readUInt32LE(at + 20),
    size: directory.readUInt32LE(at + 24),
    offset: directory.readUInt32LE(at + 42),
  };
  readExtra64(directory.subarray(nameEnd, extraEnd), found);
  found.offset += prefix;
  return { found, end };
}

/** The zip64 field holds those of the three numbers that did not fit, in this order. */
function readExtra64(extra: Buffer, entry: ZipEntry): void {
  for (let at = 0; at + 4 <= extra.length;) {
    const end = at + 4 + extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 1) {
      let field = at + 4;
      for (const key of ['size', 'compressedSize', 'offset'] as const)
        if (entry[key] === unset && field + 8 <= Math.min(end, extra.length)) {
          entry[key] = Number(extra.readBigUInt64LE(field));
          field += 8;
        }
      return;
    }
    at = end;
  }
}

/** Members take at least their header, name and bytes; the last one has to end before the directory. */
function overlap(entries: readonly ZipEntry[], directory: number): boolean {
  const sorted = [...entries].sort((a, b) => a.offset - b.offset);
  return sorted.some((entry, index) => {
    const next = sorted[index + 1]?.offset ?? Math.max(directory, entry.offset);
    return entry.offset < 0 || entry.offset + 30 + Buffer.byteLength(entry.name) + entry.compressedSize > next;
  });
}
