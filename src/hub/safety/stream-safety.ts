import { inspectArray } from './array-safety.ts';
import type { ByteCursor } from './byte-cursor.ts';
import type { FileFindings } from './findings.ts';
import { formatOf, isArchive, isCompressedName, isPickleName, isPickleStart } from './formats.ts';
import { numpyMagic } from './numpy-array.ts';
import type { PickleBudget } from './pickle.ts';
import { looksLikePickle, walkPickles } from './pickle-file.ts';

/** As much of a stream as tells what it is. */
export const streamHeadBytes = 512;

/**
 * Looks into what is read once from its beginning, as the member of a zip is: arrays and pickles are walked over, archives
 * are not opened.
 * @param cursor has {@link streamHeadBytes} at hand, or all that there is
 * @param where as of {@link FileFindings.addPickle}
 * @returns false for what is none of these, by its name as well
 */
export async function inspectStream(
  cursor: ByteCursor,
  { name, size }: { name: string; size: number },
  found: FileFindings,
  where: string,
  budget: PickleBudget,
): Promise<boolean> {
  const first = cursor.peek(numpyMagic.length);
  if (first.equals(numpyMagic)) {
    await inspectArray(cursor, found, where, budget);
  } else if (/\.(?:pkl|pickle|joblib)$/i.test(name) || isPickleStart(first)) {
    found.addPickle(await walkPickles(cursor, 'some', budget), where);
  } else if (first.toString('latin1', 0, 4) === 'PK\u0003\u0004') {
    found.add('danger', 'archive-not-read', `${where}is a zip of its own, which is not opened`);
  } else if (isPickleName(name)) {
    const format = formatOf(cursor.peek(streamHeadBytes), size);
    if (isArchive(format) || isCompressedName(name))
      found.add('danger', 'archive-not-read', `${where}is an archive (${format}) that is not opened here`);
    // What has no magic may be a pickle of an old protocol: only what could be taken for an import is told.
    const walked = await walkPickles(cursor, 'some', budget);
    if (looksLikePickle(walked)) found.addPickle(walked, where);
  } else {
    return false;
  }
  return true;
}
