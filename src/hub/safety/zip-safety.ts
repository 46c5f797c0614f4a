import type { ByteCursor } from './byte-cursor.ts';
import type { ByteRanges } from './byte-ranges.ts';
import type { FileFindings } from './findings.ts';
import { type FileFormat, isPickleStart } from './formats.ts';
import { inspectArray } from './array-safety.ts';
import { inspectKerasConfig } from './keras-config.ts';
import { numpyMagic } from './numpy-array.ts';
import { type PickleBudget, pickleBudget } from './pickle.ts';
import { looksLikePickle, walkPickles } from './pickle-file.ts';
import { readZipDirectory, type ZipEntry, type ZipFault } from './zip-directory.ts';
import { inspectStream, streamHeadBytes } from './stream-safety.ts';
import type { InflateBudget } from './inflate.ts';
import { openMember } from './zip-member.ts';

/** How closely a file is looked at. `few-ranges` is for files that are still far away. */
export type Closeness = 'everything' | 'few-ranges';

/** Members beyond these numbers are not opened. */
const maxOpened = 4096;
const maxStorages = 65_536;

type ZipBudget = PickleBudget & InflateBudget;

const maxInflated = 512 * 1024 * 1024;

/**
 * Looks into a zip: every member that a loader could unpickle is walked over, and nothing is extracted. Storages of
 * tensors are thousands, and torch takes them as plain numbers: they are looked at only for `everything`.
 */
export async function inspectZip(ranges: ByteRanges, found: FileFindings, closeness: Closeness): Promise<FileFormat> {
  const budget: ZipBudget = { ...pickleBudget(), inflated: maxInflated };
  const { entries, faults } = await readZipDirectory(ranges);
  for (const fault of faults) found.add('danger', 'zip-structure', faultTexts[fault]);
  // Torch finds its members in upper and lower case.
  const roots = new Set(entries.flatMap(({ name }) => /^(.*?)data\.pkl$/i.exec(name)?.[1] ?? []));
  const isStorage = ({ name }: ZipEntry): boolean => roots.has(/^(.*?)data\/\d+$/.exec(name)?.[1] ?? '\u0000');
  const opened = entries.filter((entry) => !isStorage(entry) && !isFolder(entry));
  for (const entry of opened.slice(0, maxOpened)) await inspectMember(ranges, entry, found, budget);
  const storages = closeness === 'everything' ? entries.filter(isStorage) : [];
  for (const entry of storages.slice(0, maxStorages)) await inspectStorage(ranges, entry, found, budget);
  if (storages.length > maxStorages)
    found.add('note', 'member-not-read', `has ${storages.length} storages, ${maxStorages} were looked at`);
  if (opened.length > maxOpened)
    found.add('danger', 'member-not-read', `has ${opened.length} members, ${maxOpened} were looked at`);
  if (budget.inflated < 0)
    found.add('danger', 'member-not-read', 'has members that inflate to more than is looked through');
  if (roots.size > 0 && entries.some(({ name }) => /(?:^|\/)(?:code\/.*\.py|constants\.pkl)$/i.test(name)))
    found.add('warning', 'torchscript', 'holds a TorchScript program');
  return formatOfZip(entries, roots.size > 0);
}

const faultTexts: Record<ZipFault, string> = {
  'no-directory': 'begins like a zip and has no directory at its end',
  'damaged-directory': 'has a zip directory that cannot be read to its end',
  'too-large-directory': 'has a larger zip directory than is read',
  'data-before': 'has bytes before its zip',
  'data-after': 'has bytes behind its zip',
  'second-directory': 'has two zip directories',
  'duplicate-names': 'has two members with the same name',
  'cut-names': 'has a member whose name only some readers read to its end',
  'overlapping-members': 'has members that overlap',
  'several-disks': 'is a part of a zip on several disks',
};

function formatOfZip(entries: readonly ZipEntry[], isTorch: boolean): FileFormat {
  if (isTorch) return 'torch-zip';
  if (entries.some(({ name }) => name === 'model.weights.h5')) return 'keras-zip';
  return entries.length > 0 && entries.every(({ name }) => name.endsWith('.npy')) ? 'npz' : 'zip';
}

async function inspectMember(
  ranges: ByteRanges,
  entry: ZipEntry,
  found: FileFindings,
  budget: ZipBudget,
): Promise<void> {
  const severity = entry.name.endsWith('.py') || entry.name.endsWith('.txt') ? 'warning' : 'danger';
  await readMember(ranges, entry, found, budget, severity, async (cursor) => {
    const where = partOf(entry);
    await cursor.fill(Math.min(entry.size, streamHeadBytes));
    if ((await inspectStream(cursor, entry, found, where, budget)) || entry.name !== 'config.json') return;
    if (entry.size > maxConfig) {
      found.add('danger', 'member-not-read', `${where}is larger than what is looked through`);
    } else {
      // The directory may say more than there is.
      await cursor.fill(entry.size);
      inspectKerasConfig(cursor.text(cursor.ahead), found);
    }
  });
}

/** Begins what is said of a member. */
function partOf({ name }: ZipEntry): string {
  return `has a member \`${name}\` that `;
}

/** The directories of a zip hold nothing; what has the name of one and holds something is looked at. */
function isFolder({ name, size, compressedSize }: ZipEntry): boolean {
  return name.endsWith('/') && size === 0 && compressedSize === 0;
}

/** Numbers may begin like a pickle by chance: then nothing in them looks like an import. */
async function inspectStorage(
  ranges: ByteRanges,
  entry: ZipEntry,
  found: FileFindings,
  budget: ZipBudget,
): Promise<void> {
  await readMember(ranges, entry, found, budget, 'warning', async (cursor) => {
    const where = partOf(entry);
    await cursor.fill(Math.min(entry.size, numpyMagic.length));
    const first = cursor.peek(numpyMagic.length);
    if (first.equals(numpyMagic)) await inspectArray(cursor, found, where, budget);
    if (!isPickleStart(first)) return;
    const walked = await walkPickles(cursor, 'some', budget);
    if (looksLikePickle(walked)) found.addPickle(walked, where);
  });
}

/** @param severity how bad it is when the member cannot be read */
async function readMember(
  ranges: ByteRanges,
  entry: ZipEntry,
  found: FileFindings,
  budget: ZipBudget,
  severity: 'warning' | 'danger',
  read: (cursor: ByteCursor) => Promise<void>,
): Promise<void> {
  const member = await openMember(ranges, entry, budget);
  if (typeof member === 'string') {
    found.add(severity, 'member-not-read', `${partOf(entry)}${memberTexts[member]}`);
    return;
  }
  try {
    await read(member.cursor);
  } finally {
    await member.close();
  }
}

const maxConfig = 4 * 1024 * 1024;

const memberTexts = {
  encrypted: 'is encrypted',
  'unknown-compression': 'is compressed in a way that is not read here',
  'header-differs': 'is something else by its own header than by the directory',
} as const;
