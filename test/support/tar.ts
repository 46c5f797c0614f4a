const BLOCK = 512;

/** One regular file of a tar. */
export interface TarFile {
  /** ASCII, at most 100 characters. */
  path: string;
  bytes: Uint8Array;
}

/** A ustar archive of regular files with fixed mode, owner and time: the same files give the same bytes. */
export function tarOf(files: TarFile[]): Uint8Array {
  const parts = files.flatMap((file) => [header(file), file.bytes, padding(file.bytes.length)]);
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function header({ path, bytes }: TarFile): Buffer {
  if (path.length > 100) throw new Error(`path too long for this tar writer: ${path}`);
  const block = Buffer.alloc(BLOCK);
  block.write(path, 0, 'ascii');
  block.write(octal(0o644, 8), 100, 'ascii');
  block.write(octal(0, 8), 108, 'ascii');
  block.write(octal(0, 8), 116, 'ascii');
  block.write(octal(bytes.length, 12), 124, 'ascii');
  block.write(octal(0, 12), 136, 'ascii');
  // The checksum counts its own field as blanks.
  block.write(' '.repeat(8), 148, 'ascii');
  block.write('0', 156, 'ascii');
  block.write('ustar\x0000', 257, 'ascii');
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${octal(checksum, 7)} `, 148, 'ascii');
  return block;
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`;
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}
