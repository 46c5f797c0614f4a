import type { ByteCursor } from './byte-cursor.ts';
import type { FileFindings } from './findings.ts';
import { readNumpyHeader } from './numpy-array.ts';
import type { PickleBudget } from './pickle.ts';
import { looksLikePickle, walkPickles } from './pickle-file.ts';

/** Looks into an .npy file, alone or in a zip: an array of objects is a pickle behind a header. @param where as of {@link FileFindings.addPickle} */
export async function inspectArray(
  cursor: ByteCursor,
  found: FileFindings,
  where: string,
  budget?: PickleBudget,
): Promise<void> {
  const data = await readNumpyHeader(cursor);
  if (data === 'plain') return;
  if (data === 'damaged') {
    found.add('warning', 'not-what-its-name-says', `${where}is an array whose header cannot be read`);
    return;
  }
  if (data === 'objects') found.add('warning', 'object-array', `${where}is an array of pickled objects`);
  else
    found.add('danger', 'object-array', `${where}is an array of which cannot be told whether it holds pickled objects`);
  const walked = await walkPickles(cursor, 'some', budget);
  if (data === 'objects' || looksLikePickle(walked)) found.addPickle(walked, where);
}
