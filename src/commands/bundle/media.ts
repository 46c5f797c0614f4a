import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../../core/errors.ts';
import { formatBytes } from '../../core/text.ts';
import { ensureWritable } from '../../fs/atomic.ts';
import { isInOrderMedium } from '../../fs/in-order.ts';

export interface MediumOptions {
  /** The most that goes to one medium, in bytes; else what is free there. */
  mediumSize?: number | undefined;
  /** What every medium has to hold beside its volumes. */
  besides: number;
}

/**
 * Fills one directory after the other with whole volumes, in their order.
 * @returns the directory of each volume, by its name
 * @throws E_NO_SPACE
 */
export async function chooseMedia(
  directories: readonly string[],
  volumes: readonly { name: string; size: number }[],
  { mediumSize = Number.POSITIVE_INFINITY, besides }: MediumOptions,
): Promise<Map<string, string>> {
  const left: { directory: string; free: number }[] = [];
  for (const directory of directories)
    left.push({ directory, free: Math.min(await roomIn(directory), mediumSize) - besides });
  const room = left.reduce((sum, { free }) => sum + free, 0);
  const chosen = new Map<string, string>();
  for (const { name, size } of volumes) {
    while (left[0] && left[0].free < size) left.shift();
    const [medium] = left;
    if (!medium) throw noSpace(directories, room, volumes);
    medium.free -= size;
    chosen.set(name, medium.directory);
  }
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

/** Free bytes, those that an earlier run took included: it goes on with them or clears them away. */
async function roomIn(directory: string): Promise<number> {
  await ensureWritable(directory);
  const { blocks, bavail, bsize } = await statfs(directory);
  // Some file systems in user space say nothing of themselves; the medium itself says when it is full.
  if (blocks === 0) return Number.POSITIVE_INFINITY;
  const sizes = await Promise.all(
    (await readdir(directory)).map(async (name) => (await stat(join(directory, name))).size),
  );
  return bavail * bsize + sizes.reduce((sum, size) => sum + size, 0);
}

function noSpace(directories: readonly string[], room: number, volumes: readonly { size: number }[]): MirrorError {
  const names = directories.map((directory) => `\`${directory}\``).join(', ');
  const wanted = volumes.reduce((sum, { size }) => sum + size, 0);
  return new MirrorError(
    'E_NO_SPACE',
    `${names}: ${formatBytes(Math.max(room, 0))} can be used for volumes, the bundle needs ${formatBytes(wanted)}`,
    { hint: 'free some space, choose a larger medium with `--out`, or add one more `--out`' },
  );
}
