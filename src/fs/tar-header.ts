/** https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06 */
export const tarBlockBytes = 512;

export interface TarHeader {
  path: string;
  /** Bytes that follow the header. */
  size: number;
  /** Type flag as written; `0` for every way to say regular file. */
  type: string;
  link: string;
}

/** Links, devices, directories and pipes: no bytes follow, whatever a header says of their size. */
export const tarTypesWithoutBytes = '123456';

/** A header block, or what is wrong with it. Its checksum has to be right. */
export function parseTarHeader(block: Buffer): TarHeader | string {
  if (!checksumIsRight(block)) return 'the checksum of a header is wrong';
  const flag = field(block, 156, 1);
  const name = field(block, 0, 100);
  // GNU's own form has other things where ustar has the prefix.
  const prefix = block.toString('latin1', 257, 263) === 'ustar\0' ? field(block, 345, 155) : '';
  const path = prefix === '' ? name : `${prefix}/${name}`;
  const type = flag === '' || flag === '7' ? '0' : flag;
  if (tarTypesWithoutBytes.includes(type)) return { path, size: 0, type, link: field(block, 157, 100) };
  const size = parseNumber(block.subarray(124, 136));
  if (size === undefined) return 'a member has no believable size';
  // Before there was a type for them, directories were files whose name ends so.
  return { path, size, type: type === '0' && path.endsWith('/') ? '5' : type, link: '' };
}

/** The records of a PAX header, or undefined when they are damaged. */
export function parsePax(bytes: Buffer): Map<string, string> | undefined {
  const records = new Map<string, string>();
  for (let start = 0; start < bytes.length;) {
    const space = bytes.indexOf(' ', start);
    const digits = bytes.toString('latin1', start, Math.max(space, start));
    const end = start + Number(digits);
    const equals = bytes.indexOf('=', space);
    if (!/^\d{1,9}$/.test(digits) || equals < 0 || equals >= end || end > bytes.length || bytes[end - 1] !== 0x0a)
      return undefined;
    records.set(bytes.toString('utf8', space + 1, equals), bytes.toString('utf8', equals + 1, end - 1));
    start = end;
  }
  return records;
}

/** The sum of all bytes with the sum itself as blanks; old writers added signed bytes. */
function checksumIsRight(block: Buffer): boolean {
  const wanted = parseNumber(block.subarray(148, 156));
  let unsigned = 0;
  let signed = 0;
  for (const [index, byte] of block.entries()) {
    const value = index >= 148 && index < 156 ? 0x20 : byte;
    unsigned += value;
    signed += value > 127 ? value - 256 : value;
  }
  return wanted === unsigned || wanted === signed;
}

/** Octal digits, or GNU's base 256 for what has too many of them; undefined for anything else. */
function parseNumber(bytes: Buffer): number | undefined {
  const first = bytes[0] ?? 0;
  if ((first & 0x80) !== 0) {
    // The second bit is the sign; nothing here is negative.
    if ((first & 0x40) !== 0) return undefined;
    let value = BigInt(first & 0x3f);
    for (const byte of bytes.subarray(1)) value = value * 256n + BigInt(byte);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
  }
  const digits = bytes.toString('latin1').replace(/^[ \0]+|[ \0].*$/gs, '');
  return /^[0-7]*$/.test(digits) ? Number.parseInt(digits || '0', 8) : undefined;
}

function field(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString('utf8', start, end < 0 || end > start + length ? start + length : end);
}
