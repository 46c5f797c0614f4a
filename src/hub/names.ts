import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import { foldName } from '../core/path.ts';
import { printable } from '../core/text.ts';
import { partialSuffix } from '../fs/atomic.ts';
import { patternOf } from './selection/fnmatch.ts';

/** Every file system takes a path of this many bytes. */
const shortPath = 100;

/** What FAT, exFAT, NTFS and shares of Windows cannot have in a name, or give another name. */
// eslint-disable-next-line no-control-regex
const special = /[<>:"|?*\\\u0000-\u001f]|[. ]$|^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;

/** Whether FAT, exFAT, NTFS and shares of Windows have a file of this very name. */
export function isNameEverywhere(name: string): boolean {
  return !special.test(name);
}

/**
 * Paths that some file system refuses, changes, or takes for each other: long ones, those with special characters, with
 * letters outside ASCII, which may be composed or not, and those that differ in upper and lower case only.
 */
export function oddPaths(paths: readonly string[]): string[] {
  const twins = alike(paths);
  return paths.filter(
    (path) =>
      path.length > shortPath ||
      // eslint-disable-next-line no-control-regex
      /[^\u0000-\u007f]/.test(path) ||
      !path.split('/').every(isNameEverywhere) ||
      (twins.size > 0 && withFolders(path).some((name) => twins.has(name))),
  );
}

/** Two paths that are one on some file systems, if there are such: no bundle carries both. */
export function twinsAmong(paths: readonly string[]): [string, string] | undefined {
  const spellings = new Map<string, string>();
  for (const path of paths) {
    const other = spellings.get(foldName(path));
    if (other !== undefined) return [other, path];
    spellings.set(foldName(path), path);
  }
  return undefined;
}

/** Of the paths and their folders those that another one differs from in its spelling only. */
function alike(paths: readonly string[]): Set<string> {
  const names = new Set<string>();
  for (const path of paths)
    for (let end = path.length; end > 0 && !names.has(path.slice(0, end)); end = path.lastIndexOf('/', end - 1))
      names.add(path.slice(0, end));
  const spellings = new Map<string, string>();
  const twins = new Set<string>();
  for (const name of names) {
    const other = spellings.get(foldName(name));
    if (other === undefined) spellings.set(foldName(name), name);
    else twins.add(other).add(name);
  }
  return twins;
}

/**
 * Tries whether the file system can have these paths beside each other and each by its very name, before anything is
 * fetched, as empty files.
 * @param odd see {@link oddPaths}: no other needs to be tried
 * @param directory where that is tried; it has to be as deep as where the files will stand
 * @throws E_REFUSED
 */
export async function checkNames(directory: string, odd: readonly string[], repo: string): Promise<void> {
  const root = `${directory}${partialSuffix}`;
  await rm(root, { recursive: true, force: true });
  try {
    await mkdir(root, { recursive: true });
    for (const path of odd) await tryName(root, path, odd, repo);
    const found = new Set(await readdir(root, { recursive: true }));
    for (const path of odd)
      if (!withFolders(path).every((name) => found.has(name))) throw refusal(repo, path, 'gives it another name');
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** Would meet any name; for a name that they cannot have file systems answer with one of many errors. */
const notForTheName = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EIO', 'EMFILE', 'ENFILE']);

async function tryName(root: string, path: string, odd: readonly string[], repo: string): Promise<void> {
  try {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await writeFile(join(root, path), '', { flag: 'wx' });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const twin = odd.find((other) => other !== path && foldName(other) === foldName(path));
    if (code === 'EEXIST') throw refusal(repo, path, `takes it for \`${printable(twin ?? '')}\``, error);
    if (code === 'ENAMETOOLONG') throw refusal(repo, path, 'cannot have a name so long', error);
    if (notForTheName.has(code)) throw error;
    throw refusal(repo, path, 'cannot have such a name', error);
  }
}

function refusal(repo: string, path: string, what: string, cause?: unknown): MirrorError {
  const shown = printable(path);
  return new MirrorError('E_REFUSED', `\`${repo}/${shown}\` cannot be stored: the file system of the store ${what}`, {
    hint: `choose a \`--store\` on ext4, xfs or the like, or leave the file out with \`--exclude '${patternOf(path)}'\``,
    at: { side: 'target', item: `${repo}/${shown}` },
    cause,
  });
}

/**
 * A listing must name each file once, and none that is a folder as well.
 * @throws E_CORRUPT
 */
export function refuseDoubles(paths: readonly string[], repo: string): void {
  const files = new Set<string>();
  const twice: string[] = [];
  for (const path of paths) {
    if (files.has(path)) twice.push(path);
    files.add(path);
  }
  const both = paths.find((path) => withFolders(path).some((name) => name !== path && files.has(name)));
  const bad = twice[0] ?? both;
  if (bad === undefined) return;
  const what = twice.length === 0 ? 'below a file' : 'twice';
  throw new MirrorError('E_CORRUPT', `the hub lists \`${printable(bad)}\` of \`${repo}\` ${what}`, {
    at: { side: 'source', item: `${repo}/${printable(bad)}` },
  });
}

/** `a/b/c` and the folders that it needs: `a`, `a/b`, `a/b/c`. */
function withFolders(path: string): string[] {
  const parts = path.split('/');
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}
