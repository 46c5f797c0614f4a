import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { listTree } from '../../fs/tree.ts';
import type { RepoFile } from '../repo.ts';

/** Takes away what stands below a directory and is not among these files, and folders that are empty then. @returns how many files */
export async function prune(root: string, files: readonly RepoFile[]): Promise<number> {
  if (!(await stat(root).catch(() => undefined))?.isDirectory()) return 0;
  const wanted = new Set(files.map(({ path }) => path));
  const extra = (await listTree(root, () => false)).filter(({ path }) => !wanted.has(path));
  for (const { path } of extra) {
    await rm(join(root, path));
    await removeEmpty(root, posix.dirname(path));
  }
  return extra.length;
}

async function removeEmpty(root: string, folder: string): Promise<void> {
  for (let path = folder; path !== '.'; path = posix.dirname(path)) {
    if ((await readdir(join(root, path))).length > 0) return;
    await rmdir(join(root, path));
  }
}
