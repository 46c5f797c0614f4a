import type { ByteCursor } from './byte-cursor.ts';

export const numpyMagic = Buffer.from('\u0093NUMPY', 'latin1');

const maxHeader = 1024 * 1024;

/**
 * Reads the header of an .npy file and leaves the cursor on the first byte of data. `objects`: the data is a pickle.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
export async function readNumpyHeader(cursor: ByteCursor): Promise<'plain' | 'objects' | 'damaged'> {
  if (!(await cursor.fill(12))) return 'damaged';
  cursor.skip(numpyMagic.length);
  const major = cursor.byte();
  cursor.skip(1);
  const length = cursor.unsigned(major === 1 ? 2 : 4);
  if (major < 1 || major > 3 || length > maxHeader || !(await cursor.fill(length))) return 'damaged';
  const header = cursor.text(length);
  const type = /['"]descr['"]\s*:\s*([^]*?),\s*['"](?:fortran_order|shape)['"]/.exec(header)?.[1];
  if (type === undefined) return 'damaged';
  // A type is a code like `<f4`, or a list of fields; `O` is an object.
  return /['"][<>|=]?O/.test(type) ? 'objects' : 'plain';
}
