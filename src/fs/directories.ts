import { mkdir, open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import { forEachLimited } from '../core/limit.ts';

/**
 * Makes a directory and those above it that are missing. The recursive `mkdir` of Node.js 20 never comes back where a
 * directory cannot get a child and says that there is no such file, as `/proc` does. Their names are on the medium then.
 * @throws E_REFUSED for such a place, and the system's errors
 */
export async function makeDirectory(path: string): Promise<void> {
  const missing: string[] = [];
  let at = resolve(path);
  let state = await make(at);
  for (; state === 'not'; state = await make(at)) {
    missing.unshift(at);
    at = dirname(at);
  }
  for (const below of missing) if ((await make(below)) === 'not') throw refusal(below);
  if (state === 'made') missing.push(at);
  for (const each of missing) await syncDirectory(dirname(each));
}

/** Whether it is one, or a link that leads to one; what may not be looked at is none. */
export async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** After a power cut a name is there only if its directory was synced too. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    await using directory = await open(path, 'r');
    await directory.sync();
  } catch (error) {
    // Some cannot be synced, or not be read; they are no worse off than without the call.
    if (!unsynced.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

const unsynced = new Set(['EINVAL', 'ENOTSUP', 'EPERM', 'EACCES', 'EISDIR']);

/** Calls of the file system wait for each other less than for us. */
const syncsAtOnce = 16;

/** Waits until the names of files are on the medium, and those of the folders that they are in, up to `root`, which is one of them. */
export async function syncFolders(paths: readonly string[], root: string): Promise<void> {
  const folders = new Set<string>();
  for (const path of paths)
    for (let folder = dirname(path); folder.startsWith(root) && !folders.has(folder); folder = dirname(folder))
      folders.add(folder);
  await forEachLimited([...folders], syncsAtOnce, syncDirectory);
}

/** Not when the one above it is missing, or takes no child. */
async function make(path: string): Promise<'made' | 'there' | 'not'> {
  try {
    await mkdir(path);
    return 'made';
  } catch (error) {
    if (await isDirectory(path)) return 'there';
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && dirname(path) !== path) return 'not';
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
