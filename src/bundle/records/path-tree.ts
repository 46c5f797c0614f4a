import { checkRelativePath, foldName } from '../../core/path.ts';
import { printable } from '../../core/text.ts';
import { corruptInventory } from './inventory.ts';
import { TextMap } from '../lists/text-map.ts';

/** Paths of which each is plain, meets no other one on a file system without case, and passes through no other one. */
export class PathTree {
  readonly #where: string;
  readonly #keys = new TextMap();
  /** One of two paths that are the same, if there are such. */
  #double: string | undefined;

  /** @param where for messages */
  constructor(where: string) {
    this.#where = where;
  }

  /** @throws E_CORRUPT */
  add(path: string): void {
    checkRelativePath(path, this.#where);
    const key = treeKey(path);
    if (this.#keys.set(key, 0)) this.#double ??= key;
  }

  /**
   * @param paths all that were added, once more
   * @throws E_CORRUPT
   */
  end(paths: Iterable<string>): void {
    if (this.#double !== undefined) {
      const same = withKey(paths, this.#double).map((path) => `\`${printable(path)}\``);
      throw corruptInventory(`the paths ${same.join(' and ')} are one on some file systems`);
    }
    for (const path of paths)
      if (this.#keys.beginningOf(treeKey(path), keySeparator) !== undefined)
        throw corruptInventory(`the path \`${printable(path)}\` goes through another entry`);
  }
}

function withKey(paths: Iterable<string>, key: string): string[] {
  const found: string[] = [];
  for (const path of paths) if (treeKey(path) === key) found.push(path);
  return found;
}

/** No path has one. */
export const keySeparator = '\0';

/** The same for names that are one on some file systems. */
export function treeKey(path: string): string {
  return foldName(path).replaceAll('/', keySeparator);
}
