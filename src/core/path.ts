import { MirrorError } from './errors.ts';
import { printable } from './text.ts';

/**
 * Checks a relative path with `/` that came from outside, before anything is made of it.
 * @throws E_CORRUPT when it could leave its tree or cannot be a path on every file system that we write to
 */
export function checkRelativePath(path: string, where: string): string {
  const parts = path.split('/');
  const bad =
    path === '' ||
    path.length > 4096 ||
    // eslint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f\\\p{Surrogate}]/u.test(path) ||
    /(?:^|\/)[A-Za-z]:/.test(path) ||
    parts.some((part) => part === '' || part === '.' || part === '..' || Buffer.byteLength(part) > 255);
  if (bad)
    throw new MirrorError(
      'E_CORRUPT',
      `${where} has the path \`${printable(path)}\`, which is not a plain relative path`,
      { at: { item: printable(path) } },
    );
  return path;
}

/** The same for all names that some file system takes for one. */
export function foldName(name: string): string {
  return name.normalize('NFC').toLowerCase();
}

/**
 * Where a relative symbolic link at `path` leads within its tree; undefined when it leaves the tree, or goes up again
 * after it went down: with a link in between, that may be anywhere.
 */
export function linkTarget(path: string, link: string): string | undefined {
  if (link.startsWith('/') || link === '') return undefined;
  const parts = path.split('/').slice(0, -1);
  let down = false;
  for (const part of link.split('/')) {
    if (part === '..') {
      if (down || parts.pop() === undefined) return undefined;
    } else if (part !== '.' && part !== '') {
      parts.push(part);
      down = true;
    }
  }
  return parts.length === 0 ? undefined : parts.join('/');
}
