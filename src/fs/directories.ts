import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { MirrorError } from '../core/errors.ts';

/**
 * Makes a directory and those above it that are missing. The recursive `mkdir` of Node.js 20 never comes back where a
 * directory cannot get a child and says that there is no such file, as `/proc` does.
 * @throws E_REFUSED for such a place, and the system's errors
 */
export async function makeDirectory(path: string): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); !(await isMade(at)); at = dirname(at)) missing.unshift(at);
  for (const at of missing) if (!(await isMade(at))) throw refusal(at);
}

/** Whether it stands there now; not when the one above it is missing, or takes no child. */
async function isMade(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if ((await stat(path).catch(() => undefined))?.isDirectory()) return true;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && dirname(path) !== path) return false;
    throw error;
  }
}

function refusal(path: string): MirrorError {
  const text = `no directory can be made in \`${dirname(path)}\`: the system says that there is no such place`;
  return new MirrorError('E_REFUSED', text, {
    hint: 'choose another directory',
    at: { side: 'target', item: path },
  });
}
