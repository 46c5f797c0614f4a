import { randomBytes } from 'node:crypto';
import { constants, copyFile, open, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type MirrorError, toMirrorError } from '../core/errors.ts';
import { makeDirectory, syncDirectory } from './directories.ts';

/** Suffix of everything that is not yet whole. */
export const partialSuffix = '.partial';

/**
 * Writes a whole small file, or one that is made in pieces: other readers see the old one or the new one.
 * @param beside the file next to which the new one stands while it is written; on the same file system
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array | Iterable<Uint8Array>,
  mode = 0o644,
  beside = path,
): Promise<void> {
  await makeDirectory(dirname(path));
  const temporary = `${beside}.${randomBytes(4).toString('hex')}${partialSuffix}`;
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await writeFile(file, data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw namePath(error, path, temporary);
  }
}

/** Copies a file, by sharing blocks where the file system can; its bytes are on the medium then. */
export async function copyFileSynced(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  await syncWritten(to);
}

/** Waits until the bytes of a file that somebody else wrote are on the medium. It may be one that must not be written to. */
export async function syncWritten(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}

/**
 * A write that fails does not say where; this does.
 * @param temporary a name that stood for it, and says nothing to anybody
 */
export function namePath(error: unknown, path: string, temporary?: string): MirrorError {
  if (error instanceof Error && 'syscall' in error) {
    const { path: named } = error as NodeJS.ErrnoException;
    if (named === undefined || named === temporary) Object.assign(error, { path });
  }
  return toMirrorError(error);
}

/** Makes `path` a directory that can be written to. @throws E_REFUSED, and the system's errors */
export async function ensureWritable(path: string): Promise<void> {
  await makeDirectory(path);
  const probe = join(path, `.${randomBytes(4).toString('hex')}${partialSuffix}`);
  await writeFile(probe, '', { flag: 'wx' }).catch((error: unknown) => {
    throw namePath(error, path, probe);
  });
  await rm(probe);
}
