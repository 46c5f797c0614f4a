/** What is not whole and nobody has gone on with for this long nobody will, in milliseconds. */
export const abandonedMs = 14 * 24 * 3600 * 1000;

/** What was taken away of that. */
export interface Freed {
  files: number;
  bytes: number;
}

/** All of it together. */
export function sumOf(parts: readonly Freed[]): Freed {
  return parts.reduce((sum, { files, bytes }) => ({ files: sum.files + files, bytes: sum.bytes + bytes }), {
    files: 0,
    bytes: 0,
  });
}
