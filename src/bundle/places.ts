import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import { bundleFiles } from './records/inventory.ts';

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

/** @throws E_NOT_FOUND for a directory that is not there, E_PATH for a file */
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

/** A file of a bundle for messages: with its directory when it lies in several. */
export function placeLabel(places: Places, name: string, place: Place | undefined): string {
  const isOneOfSeveral = place && (places.get(name)?.length ?? 0) > 1;
  return isOneOfSeveral ? `\`${name}\` in \`${place.directory}\`` : `\`${name}\``;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTDIR')
      throw new MirrorError('E_PATH', `\`${directory}\` is no directory, and so no bundle`, {
        hint: 'name the directory that holds `SHA256SUMS`; to import a single file as a model add `--as NAME`',
        cause: error,
      });
    if (code !== 'ENOENT') throw error;
    throw new MirrorError('E_NOT_FOUND', `there is no directory \`${directory}\``, {
      hint: 'name the directory that holds `SHA256SUMS`',
      cause: error,
    });
  }
}

/** What has to be read before anything is proven; an inventory lists every file, a signature is one line. */
const smallFileLimits: Record<string, number> = {
  [bundleFiles.inventory]: 1024 ** 3,
  [bundleFiles.sums]: 16 * 1024 ** 2,
};
/** Of signatures and approvals, which no sum speaks of: nothing large may hide there. */
export const smallFileLimit = 64 * 1024;

/** A small file of a bundle, its first copy. @throws E_MISSING, E_CORRUPT */
export async function readSmall(places: Places, name: string): Promise<Buffer> {
  return readPlace(firstPlace(places, name), name);
}

const pieceBytes = 1024 * 1024;

/** The same in pieces, for an inventory, which is as large as a bundle has many files. @throws E_MISSING, E_CORRUPT */
export async function* readPieces(places: Places, name: string): AsyncGenerator<Buffer> {
  const file = await openPlain(firstPlace(places, name), name);
  for await (const piece of file.createReadStream({ highWaterMark: pieceBytes })) yield piece as Buffer;
}

/** @throws E_CORRUPT for what is not plain, or too large to be read before it is proven */
export async function readPlace(place: Place, name: string): Promise<Buffer> {
  const file = await openPlain(place, name);
  try {
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** What stands there may be another thing than it was when it was looked at: a pipe is not waited for, a device not read. */
async function openPlain(place: Place, name: string): Promise<FileHandle> {
  checkPlace(place, name);
  const file = await open(place.path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = await file.stat();
    checkPlace({ ...place, plain: found.isFile(), size: found.size }, name);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function firstPlace(places: Places, name: string): Place {
  const [place] = places.get(name) ?? [];
  if (!place) throw new MirrorError('E_MISSING', `\`${name}\` is missing`, { at: { item: name } });
  return place;
}

function checkPlace({ plain, size }: Place, name: string): void {
  if (!plain || size > (smallFileLimits[name] ?? smallFileLimit))
    throw new MirrorError('E_CORRUPT', `\`${name}\` is not a plain file of a believable size`, { at: { item: name } });
}
