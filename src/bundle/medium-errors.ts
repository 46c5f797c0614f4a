import { dirname, sep } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import { namePath } from '../fs/atomic.ts';

/**
 * What a drive says that is worn out, was pulled, or on which something else has taken the place of a file; ENOTCONN is
 * that of a file system in user space which has ended.
 */
const mediumErrors = new Set(['EIO', 'ENXIO', 'ENODEV', 'ENOMEDIUM', 'ESTALE', 'ENOENT', 'ENOTCONN', 'ESPIPE']);

/** Whether an error is one of a medium, which says nothing of the bytes on it. */
export function isMediumError(error: unknown): boolean {
  return mediumErrors.has((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

/**
 * Why a file of a bundle could not be written: E_MEDIUM when its medium is gone or worn out.
 * @param error what was thrown, as the system said it or with that as its cause
 * @param path of the file; errors of what does not lie beside it are left as they are
 */
export function writeError(error: unknown, path: string): MirrorError {
  const known = namePath(error, path);
  if (!isMediumError(known.cause)) return known;
  const { code = '', path: named = path } = known.cause as NodeJS.ErrnoException;
  const folder = dirname(path);
  return named === folder || named.startsWith(`${folder}${sep}`) ? lostMedium(path, code, known.cause) : known;
}

/** The same of a medium that could be written to when the run began. */
export function midwayError(error: unknown, path: string): MirrorError {
  const known = writeError(error, path);
  if ((known.cause as NodeJS.ErrnoException | undefined)?.code !== 'EROFS') return known;
  return new MirrorError('E_MEDIUM', `\`${path}\` cannot be written, its medium has become read-only`, {
    hint: 'systems do that to a medium on which they find a fault: unmount it, check it (`fsck`, `chkdsk`), mount it again, and run the same command again: it goes on with the first volume that is not finished',
    at: { side: 'target', item: path },
    cause: known.cause,
  });
}

/** @param found what the system says of it */
export function lostMedium(path: string, found: string, cause?: unknown): MirrorError {
  return new MirrorError('E_MEDIUM', `\`${path}\` cannot be written, its medium is gone or worn out: \`${found}\``, {
    hint: 'put it in again, in another port or reader, and run the same command again: it goes on with the first volume that is not finished',
    at: { side: 'target', item: path },
    cause,
  });
}
