import { createReadStream } from 'node:fs';
import { MirrorError } from '../../core/errors.ts';
import { readAll } from '../../core/stream.ts';
import { namePath } from '../../fs/atomic.ts';
import type { Context } from '../context.ts';

const smallFileLimit = 64 * 1024;

/**
 * A key or a passphrase, from a file or a pipe.
 * @throws E_USAGE for what is too large to be one, E_NOT_FOUND, E_PATH for a directory
 */
export async function readSmallFile(path: string, context: Context): Promise<string> {
  try {
    return (await readAll(createReadStream(context.path(path)), smallFileLimit, path)).toString('utf8');
  } catch (error) {
    const known = namePath(error, context.path(path));
    if (known.code !== 'E_SIZE_MISMATCH') throw known;
    throw new MirrorError(
      'E_USAGE',
      `\`${path}\` has more than ${smallFileLimit} bytes: it is no key and no passphrase`,
      {
        hint: 'give the file that holds the key, or the passphrase, and nothing else',
        cause: error,
      },
    );
  }
}
