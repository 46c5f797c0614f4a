import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../core/errors.ts';

/** Where a file of a bundle was found. */
export interface Place {
  directory: string;
  path: string;
  size: number;
  /** Neither a directory nor a link nor a device. */
  plain: boolean;
}

/** What stands in the directories of a bundle, by name: what is on several media has several places. */
export type Places = ReadonlyMap<string, readonly Place[]>;

/** @throws E_NOT_FOUND for a directory that is not there */
export async function findPlaces(directories: readonly string[]): Promise<Places> {
  const places = new Map<string, Place[]>();
  for (const directory of directories)
    for (const name of await namesIn(directory)) {
      const path = join(directory, name);
      const found = await lstat(path);
      places.set(name, [...(places.get(name) ?? []), { directory, path, size: found.size, plain: found.isFile() }]);
    }
  return new Map([...places].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Of several places of a volume the first that has it whole, as far as its size tells. */
export function placeOf(places: Places, { name, size }: { name: string; size: number }): Place | undefined {
  const found = places.get(name);
  return found?.find((place) => place.plain && place.size === size) ?? found?.[0];
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new MirrorError('E_NOT_FOUND', `there is no directory \`${directory}\``, {
      hint: 'name the directory that holds `SHA256SUMS`',
      cause: error,
    });
  }
}
