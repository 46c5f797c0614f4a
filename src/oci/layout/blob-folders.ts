import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolders } from '../../fs/directories.ts';
import { type Freed, sumOf } from '../../fs/freed.ts';
import type { LockOwner } from '../../fs/lock.ts';
import { SharedFiles } from '../../fs/shared-files.ts';

/**
 * Waits until the names of a layout's blobs are on the medium, as index.json must not name what a power cut can still take
 * away. Their bytes were waited for when they came.
 */
export async function syncBlobs(layout: string): Promise<void> {
  const inside = (await foldersOf(layout)).map((folder) => join(folder, 'any'));
  await syncFolders(inside, layout);
}

/** Takes away parts of blobs that dead processes left, and that nobody has gone on with for so long. */
export async function sweepBlobs(layout: string, owner: LockOwner, idleMs: number): Promise<Freed> {
  const files = new SharedFiles(owner);
  const folders = await foldersOf(layout);
  return sumOf(await Promise.all(folders.map((folder) => files.sweep(folder, idleMs))));
}

/** One for each algorithm. */
async function foldersOf(layout: string): Promise<string[]> {
  const blobs = join(layout, 'blobs');
  return (await readdir(blobs).catch(() => [])).map((algorithm) => join(blobs, algorithm));
}
