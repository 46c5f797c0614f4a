import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readTreeDocument } from './tree-document.ts';

/**
 * Where the snapshots of a repo have their files, by the hash that names a blob: without links each snapshot holds real
 * files of its own, and what two commits share need not come twice.
 */
export class OtherSnapshots {
  readonly #repo: string;
  #places: Promise<Map<string, string[]>> | undefined;

  /** @param repo directory of the repo in the cache */
  constructor(repo: string) {
    this.#repo = repo;
  }

  /** A file of this hash, by what its snapshot's list says and by its size. */
  async find(hex: string, size: number): Promise<string | undefined> {
    const places = await (this.#places ??= this.#read());
    for (const path of places.get(hex) ?? []) {
      const found = await stat(path).catch(() => undefined);
      if (found?.isFile() && found.size === size) return path;
    }
    return undefined;
  }

  async #read(): Promise<Map<string, string[]>> {
    const places = new Map<string, string[]>();
    for (const name of await readdir(join(this.#repo, 'trees')).catch(() => [])) {
      const [, commit] = /^([0-9a-f]{40})\.json$/.exec(name) ?? [];
      if (commit === undefined) continue;
      for (const [path, { hex }] of await readList(join(this.#repo, 'trees', name)))
        places.set(hex, [...(places.get(hex) ?? []), join(this.#repo, 'snapshots', commit, path)]);
    }
    return places;
  }
}

/** One that cannot be read tells nothing. */
async function readList(path: string): Promise<ReturnType<typeof readTreeDocument>> {
  try {
    return readTreeDocument(await readFile(path), path);
  } catch {
    return new Map();
  }
}
