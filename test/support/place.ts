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
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
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
