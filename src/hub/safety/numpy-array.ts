import type { ByteCursor } from './byte-cursor.ts';

export const numpyMagic = Buffer.from('\u0093NUMPY', 'latin1');

const maxHeader = 1024 * 1024;

/**
 * Reads the header of an .npy file and leaves the cursor on the first byte of data. `objects`: the data is a pickle.
 * `unclear`: it may be one. NumPy reads the header as any literal of Python, so that only one whose every part is known
 * is believed. `damaged`: NumPy does not read it either.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
export async function readNumpyHeader(cursor: ByteCursor): Promise<'plain' | 'objects' | 'unclear' | 'damaged'> {
  if (!(await cursor.fill(12))) return 'damaged';
  cursor.skip(numpyMagic.length);
  const major = cursor.byte();
  cursor.skip(1);
  const length = cursor.unsigned(major === 1 ? 2 : 4);
  if (major < 1 || major > 3) return 'damaged';
  if (length > maxHeader) {
    cursor.skip(length);
    return 'unclear';
  }
  if (!(await cursor.fill(length))) return 'damaged';
  return kindOf(cursor.text(length).replaceAll(/\s+/g, ' ').trim());
}

/** Each comma and space has one place in them, so that no header takes long. */
const text = `(?:'[^'"\\\\]*'|"[^'"\\\\]*")`;
const shape = String.raw`\( ?(?:\d+L?(?: ?, ?\d+L?)*)?(?: ?,)? ?\)`;
const field = String.raw`\( ?${text} ?, ?(${text})(?: ?, ?${shape})? ?\)`;
const fields = String.raw`\[ ?${field}(?: ?, ?${field})*(?: ?,)? ?\]`;
const pair = `["'](?:descr["'] ?: ?(?:${text}|${fields})|fortran_order["'] ?: ?(?:True|False)|shape["'] ?: ?${shape})`;
const header = new RegExp(String.raw`^\{ ?${pair}(?: ?, ?${pair})*(?: ?,)? ?\}$`);
const types = new RegExp(`["']descr["'] ?: ?(${text})|${field}`, 'g');

/** @param written the header with single spaces */
function kindOf(written: string): 'plain' | 'objects' | 'unclear' {
  if (!header.test(written)) return 'unclear';
  const codes = [...written.matchAll(types)].map(([, whole, part]) => (whole ?? part ?? '').slice(1, -1));
  if (codes.length > 0 && codes.every((code) => /^[<>|=]?[?bBiufcmMSUVa]\d*(?:\[\w+\])?$/.test(code))) return 'plain';
  return codes.some((code) => /^[<>|=]?O\d*$/.test(code)) ? 'objects' : 'unclear';
}
