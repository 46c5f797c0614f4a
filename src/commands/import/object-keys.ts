import { TextMap } from '../../bundle/lists/text-map.ts';
import { folderOf, type Looks } from './state.ts';

/** Whether something has a key. */
export type HasKey = Pick<ReadonlySet<string>, 'has'>;

/** The keys of very many objects, of which only hashes are kept: it may take a key for one that it has, with no chance that matters. */
export class ObjectKeys implements HasKey {
  readonly #keys = new TextMap();
  readonly #folders = new Set<string>();
  #objects = 0;

  constructor(keys: Iterable<string>) {
    for (const key of keys) {
      if (this.#keys.set(key, this.#objects)) continue;
      this.#objects += 1;
      this.#folders.add(folderOf(key));
    }
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** What it takes to look all of them up. */
  get looks(): Looks {
    return { folders: this.#folders.size, objects: this.#objects };
  }
}
