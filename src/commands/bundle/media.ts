import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { totalSize } from '../../core/descriptor.ts';
import { MirrorError } from '../../core/errors.ts';
import { formatBytes } from '../../core/text.ts';
import { isInOrderMedium } from '../../fs/in-order.ts';

export interface MediumOptions {
  /** The most that goes to one medium, in bytes; else what is free there. */
  mediumSize?: number | undefined;
  /** What every medium has to hold beside its volumes. */
  besides: number;
  /** Where volumes of an earlier run stand, by their names: they stay as long as there is room for the rest. */
  there?: ReadonlyMap<string, string> | undefined;
}

/** Directories may share a file system, as those do that become media later. */
interface Medium {
  directory: string;
  left: number;
  disk: { free: number; blockBytes: number };
}

/**
 * Fills one directory after the other with whole volumes, in their order. All of them are there.
 * @returns the directory of each volume, by its name
 * @throws E_NO_SPACE
 */
export async function chooseMedia(
  directories: readonly string[],
  volumes: readonly { name: string; size: number }[],
  options: MediumOptions,
): Promise<Map<string, string>> {
  const media = await findMedia(directories, options);
  const room = roomOf(media);
  const chosen = new Map<string, string>();
  const put = (medium: Medium | undefined, { name, size }: { name: string; size: number }): boolean => {
    if (!medium) return false;
    const { disk } = medium;
    const onDisk = Math.ceil(size / disk.blockBytes) * disk.blockBytes;
    if (medium.left < size || disk.free < onDisk) return false;
    medium.left -= size;
    disk.free -= onDisk;
    chosen.set(name, medium.directory);
    return true;
  };
  const before = ({ name }: { name: string }): Medium | undefined =>
    media.find(({ directory }) => directory === options.there?.get(name));
  const toPlace = volumes.filter((volume) => !put(before(volume), volume));
  const rest = [...media];
  for (const volume of toPlace)
    while (!put(rest[0], volume)) if (rest.shift() === undefined) throw noSpace(media, room, volumes);
  return chosen;
}

/** More at a time would take turns on the bus. */
const mostAtOnce = 4;

/** One after the other where a medium wants that, else as many as the cores can hash. */
export async function volumesAtOnce(
  directories: readonly string[],
  wanted: number | undefined,
  threads: number,
): Promise<number> {
  if (wanted !== undefined) return wanted;
  for (const directory of directories) if (await isInOrderMedium(directory)) return 1;
  return Math.min(threads, mostAtOnce);
}

async function findMedia(
  directories: readonly string[],
  { mediumSize = Number.POSITIVE_INFINITY, besides }: MediumOptions,
): Promise<Medium[]> {
  const disks = new Map<number, Medium['disk']>();
  const media: Medium[] = [];
  for (const directory of directories) {
    const { dev } = await stat(directory);
    const disk = disks.get(dev) ?? (await diskOf(directory));
    disks.set(dev, disk);
    disk.free += (await bytesIn(directory)) - besides;
    media.push({ directory, left: mediumSize - besides, disk });
  }
  return media;
}

async function diskOf(directory: string): Promise<Medium['disk']> {
  const { blocks, bavail, bsize } = await statfs(directory);
  // Some file systems in user space say nothing of themselves; the medium itself says when it is full.
  return blocks === 0
    ? { free: Number.POSITIVE_INFINITY, blockBytes: 1 }
    : { free: bavail * bsize, blockBytes: Math.max(bsize, 1) };
}

/** What an earlier run took is free: this one goes on with it or clears it away. */
async function bytesIn(directory: string): Promise<number> {
  const sizes = await Promise.all(
    (await readdir(directory)).map(async (name) => (await stat(join(directory, name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** For all volumes together. */
function roomOf(media: readonly Medium[]): number {
  const disks = new Set(media.map(({ disk }) => disk));
  return [...disks].reduce((sum, disk) => {
    const left = media.filter((medium) => medium.disk === disk).reduce((all, medium) => all + medium.left, 0);
    return sum + Math.max(Math.min(left, disk.free), 0);
  }, 0);
}

function noSpace(media: readonly Medium[], room: number, volumes: readonly { size: number }[]): MirrorError {
  const names = media.map(({ directory }) => `\`${directory}\``).join(', ');
  const wanted = totalSize(volumes);
  return new MirrorError(
    'E_NO_SPACE',
    `${names}: ${formatBytes(room)} can be used for volumes, the bundle needs ${formatBytes(wanted)}`,
    { hint: 'free some space, choose a larger medium with `--out`, or add one more `--out`' },
  );
}
