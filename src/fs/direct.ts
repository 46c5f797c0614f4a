import { constants } from 'node:fs';
import { type FileHandle, open, statfs } from 'node:fs/promises';

/** Of file systems that write past the page cache, and do not only bear to be asked for it: statfs(2). */
const directTypes = new Set([
  // ext2, ext3, ext4
  0xef53,
  // XFS
  0x5846_5342,
]);

/**
 * Opens an existing file to be written past the page cache: what is not read again need not push others out of memory,
 * and is on the medium when the call comes back. Only whole blocks from aligned memory may be written: open(2), O_DIRECT.
 * @returns undefined where the system or the file system has no such way
 */
export async function openDirect(path: string): Promise<FileHandle | undefined> {
  const flag: number | undefined = constants.O_DIRECT;
  if (flag === undefined) return undefined;
  try {
    if (!directTypes.has((await statfs(path)).type)) return undefined;
    return await open(path, constants.O_WRONLY | flag);
  } catch {
    return undefined;
  }
}
