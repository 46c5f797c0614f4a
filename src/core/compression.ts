export type Compression = 'gzip' | 'zstd' | 'xz' | 'bzip2';

/** How the streams begin: RFC 1952, RFC 8878, https://tukaani.org/xz/xz-file-format.txt, bzip2's manual. */
const magics: Record<Compression, readonly number[]> = {
  gzip: [0x1f, 0x8b],
  zstd: [0x28, 0xb5, 0x2f, 0xfd],
  xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
  bzip2: [0x42, 0x5a, 0x68],
};

/** @param start at least the first 6 bytes; undefined when they are no mark of a compression */
export function compressionOf(start: Uint8Array): Compression | undefined {
  for (const [kind, magic] of Object.entries(magics))
    if (magic.every((byte, index) => start[index] === byte)) return kind as Compression;
  return undefined;
}
