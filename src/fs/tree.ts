import { opendir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import type { FileTree } from '../core/ports.ts';
import { partialSuffix } from './atomic.ts';
import { fileContent } from './read.ts';

/** A directory as a FileTree. */
export function directoryTree(root: string): FileTree {
  return {
    async file(path) {
      const full = join(root, path);
      try {
        const found = await stat(full);
        return found.isFile() ? fileContent([{ path: full, offset: 0, size: found.size }]) : undefined;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
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
 * Walks a tree, sorted by path, without following links and without files that are only partial.
 * @param isPartial where no file of ours is ever partial, all names are what they are
 * @throws E_PATH for sockets, devices and the like
 */
export async function listTree(
  root: string,
  isPartial: (path: string) => boolean = mayBePartial,
): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  await walk(root, '', entries, isPartial);
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function walk(
  root: string,
  below: string,
  entries: TreeEntry[],
  isPartial: (path: string) => boolean,
): Promise<void> {
  for await (const entry of await opendir(join(root, below))) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isFile() && isPartial(path)) continue;
    if (entry.isDirectory()) await walk(root, path, entries, isPartial);
    else if (entry.isSymbolicLink()) entries.push({ path, link: await readlink(join(root, path)) });
    else if (entry.isFile()) entries.push({ path, size: (await stat(join(root, path))).size });
    else
      throw new MirrorError('E_PATH', `\`${path}\` is neither a file nor a directory nor a symbolic link`, {
        at: { item: path },
      });
  }
}
