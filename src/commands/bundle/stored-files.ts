import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { isDirectory } from '../../fs/directories.ts';
import { PackedList } from '../../bundle/lists/long-list.ts';
import type { SourceFile } from '../../bundle/writing/source-file.ts';
import type { Checksum } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { walkTree } from '../../fs/tree.ts';

/** Others may fill the store meanwhile: what is sealed has to be the refs, lists and index that are read here, or nothing. */
export const runAgain = 'wait for what else fills this store, and run the same command again';

/** After so many files whatever else waits gets its turn. */
const turnEvery = 256;

export interface StoredLink {
  path: string;
  link: string;
}

/** Files and links of a store that belong into a bundle, by their paths in it. */
export class StoredFiles {
  readonly store: string;
  readonly files = new PackedList<SourceFile>();
  readonly links = new PackedList<StoredLink>();

  constructor(store: string) {
    this.store = store;
  }

  /**
   * @param checksum what the store says that it is
   * @param hint what to do when it is not
   * @throws E_MISSING
   */
  async add(path: string, checksum?: Checksum, hint?: string): Promise<void> {
    if (this.files.length % turnEvery === 0) await setImmediate();
    const size = sizeOf(join(this.store, path));
    if (size === undefined) throw missing(path);
    this.files.push({ path, size, checksum, hint });
  }

  /** All files below a folder, if it is there. */
  async addBelow(folder: string): Promise<void> {
    if (!(await isDirectory(join(this.store, folder)))) return;
    for await (const { path } of walkTree(join(this.store, folder), () => false)) await this.add(`${folder}/${path}`);
  }
}

/** Of a regular file. Of very many files one is asked about by blocking, which is far quicker. */
function sizeOf(path: string): number | undefined {
  try {
    const found = statSync(path);
    return found.isFile() ? found.size : undefined;
  } catch {
    return undefined;
  }
}

export function missing(path: string): MirrorError {
  return new MirrorError('E_MISSING', `\`${path}\` is missing in the store`, {
    hint: 'run the `pull`, `snapshot` or `copy` again that brought it',
    at: { side: 'source', item: path },
  });
}
