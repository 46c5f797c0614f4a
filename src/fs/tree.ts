import { readlinkSync, statSync } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import type { FileTree } from '../core/ports.ts';
import { partialSuffix } from './atomic.ts';
import { ifThere } from './if-there.ts';
import { fileContent } from './read.ts';

/** A directory as a FileTree. */
export function directoryTree(root: string): FileTree {
  return {
    async file(path) {
      const full = join(root, path);
      const found = await ifThere(stat(full));
      return found?.isFile() ? fileContent([{ path: full, offset: 0, size: found.size }]) : undefined;
    },
  };
}

/** What stands in a directory tree: regular files with their size, symbolic links with their target. Paths use `/`. */
export type TreeEntry = { path: string; size: number } | { path: string; link: string };

/** Whether a name in a tree may be that of a file that is not yet whole: anywhere, unless more is known of the place. */
export function mayBePartial(path: string): boolean {
  return path.endsWith(partialSuffix);
}

/**
 * What stands in a tree, sorted by path; links are not followed, and files that are only partial left out.
 * @param isPartial where no file of ours is ever partial, all names are what they are
 * @throws E_PATH for sockets, devices and the like
 */
export async function listTree(root: string, isPartial?: (path: string) => boolean): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  for await (const entry of walkTree(root, isPartial)) entries.push(entry);
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * The same in no order, one by one: there may be very many. So one is asked about by blocking, which is far quicker; what a
 * directory holds is read in the background, and there others get their turn.
 * @throws E_PATH for sockets, devices and the like
 */
export async function* walkTree(root: string, isPartial = mayBePartial, below = ''): AsyncGenerator<TreeEntry> {
  for await (const entry of await opendir(join(root, below))) {
    // In one piece at once: a name that is put together stays in memory beside what it was put together from.
    const path = below === '' ? entry.name : [below, entry.name].join('/');
    if (entry.isFile() && isPartial(path)) continue;
    if (entry.isDirectory()) yield* walkTree(root, isPartial, path);
    else if (entry.isSymbolicLink()) yield { path, link: readlinkSync(join(root, path)) };
    else if (entry.isFile()) yield { path, size: statSync(join(root, path)).size };
    else
      throw new MirrorError('E_PATH', `\`${path}\` is neither a file nor a directory nor a symbolic link`, {
        at: { item: path },
      });
  }
}
