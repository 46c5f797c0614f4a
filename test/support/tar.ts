const BLOCK = 512;

/** One member of a tar, a regular file if nothing else is said. */
export interface TarFile {
  /** ASCII, at most 100 characters. */
  path: string;
  bytes: Uint8Array;
  /** Type flag. */
  type?: string;
  /** What a link leads to. */
  link?: string;
  /** What the header says of the size when that is not the number of bytes. */
  size?: number;
}

/** A ustar archive with fixed mode, owner and time: the same files give the same bytes. */
export function tarOf(files: TarFile[]): Uint8Array {
  return Buffer.concat([...files.map(tarMember), Buffer.alloc(2 * BLOCK)]);
}

/** Header and content of one member. */
export function tarMember(file: TarFile): Buffer {
  return Buffer.concat([header(file), file.bytes, padding(file.bytes.length)]);
}

function header({ path, bytes, type = '0', link = '', size = bytes.length }: TarFile): Buffer {
  if (path.length > 100) throw new Error(`path too long for this tar writer: ${path}`);
  const block = Buffer.alloc(BLOCK);
  block.write(path, 0, 'ascii');
  block.write(octal(0o644, 8), 100, 'ascii');
  block.write(octal(0, 8), 108, 'ascii');
  block.write(octal(0, 8), 116, 'ascii');
  if (size < 8 ** 11) block.write(octal(size, 12), 124, 'ascii');
  else block.set([0x80, ...bigEndian(size, 11)], 124);
  block.write(octal(0, 12), 136, 'ascii');
  // The checksum counts its own field as blanks.
  block.write(' '.repeat(8), 148, 'ascii');
  block.write(type, 156, 'ascii');
  block.write(link, 157, 'ascii');
  block.write('ustar\x0000', 257, 'ascii');
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${octal(checksum, 7)} `, 148, 'ascii');
  return block;
}

/** GNU's way to write a number that has too many octal digits. */
function bigEndian(value: number, width: number): Buffer {
  return Buffer.from(
    BigInt(value)
      .toString(16)
      .padStart(2 * width, '0'),
    'hex',
  );
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`;
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}
