import type { Dirent } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory of a test's own, gone when the scope ends. */
export async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'sie-mirror-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Paths of all regular files and links below a directory, sorted. */
export async function filesBelow(directory: string): Promise<string[]> {
  const entries = await entriesBelow(directory);
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

/** What stands in every file of a directory, for looking for secrets. */
export async function textBelow(directory: string): Promise<string> {
  const texts = await Promise.all(
    (await filesBelow(directory)).map((path) => readFile(join(directory, path), 'latin1').catch(() => '')),
  );
  return texts.join('\n');
}

/** Begins anew when a directory below goes away meanwhile: somebody works there. */
async function entriesBelow(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { recursive: true, withFileTypes: true });
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' || path === directory) throw error;
    return entriesBelow(directory);
  }
}
