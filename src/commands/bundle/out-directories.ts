import { realpath } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { MirrorError } from '../../core/errors.ts';

/** Where readers of other tools look for models, images and files, and for nothing else. */
const foldersOfStore = ['hub', 'oci', 'charts', 'nim', 'files'];

/**
 * Before anything is made: each medium has a directory of its own, by whatever name, outside of another one and of what
 * is to be read.
 * @throws E_USAGE
 */
export async function checkDirectories(directories: readonly string[], store: string): Promise<void> {
  const places = await Promise.all(directories.map(realPlace));
  const folders = foldersOfStore.map((folder) => join(store, folder));
  const readOnly = await Promise.all(folders.map(realPlace));
  for (const [index, place] of places.entries()) {
    const directory = directories[index] ?? '';
    const folder = readOnly.findIndex((each) => isWithin(place, each));
    if (place === (await realPlace(store)) || folder >= 0)
      throw new MirrorError('E_USAGE', `\`${directory}\` lies in the store, in \`${folders[folder] ?? store}\``, {
        hint: 'choose an `--out` outside of the store: on the medium, or beside it',
      });
    const other = places.findIndex((each, at) => at !== index && isWithin(place, each));
    if (other < 0) continue;
    const text =
      places[other] === place
        ? `\`${directory}\` is given as two media`
        : `\`${directory}\` lies in \`${directories[other] ?? ''}\`, which is another medium`;
    throw new MirrorError('E_USAGE', text, {
      hint: 'give each `--out` once, and none within another; `--medium-size` fills several directories of one disk',
    });
  }
}

function isWithin(place: string, folder: string): boolean {
  return place === folder || place.startsWith(`${folder}${sep}`);
}

/** Without links, as far as it is there already. */
async function realPlace(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code !== 'ENOENT';
    return isThere || dirname(path) === path ? path : join(await realPlace(dirname(path)), basename(path));
  }
}
