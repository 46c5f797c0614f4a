import { mkdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDirectory } from '../fs/directories.ts';
import { checkRelativePath } from '../core/path.ts';
import type { Content, ObjectBytes, ObjectState, ObjectStore } from '../core/ports.ts';
import { expectationOf, sha256Of } from '../core/stream.ts';
import { copyFileSynced, ensureWritable, namePath, partialSuffix } from '../fs/atomic.ts';
import { ifThere } from '../fs/if-there.ts';
import { type Extent, fileContent } from '../fs/read.ts';
import { receiveFile } from '../fs/receive.ts';
import { listTree } from '../fs/tree.ts';

/** A directory (or a mounted volume) as an object store: a key is a path, an object a regular file. */
export class DirectoryStore implements ObjectStore {
  readonly name: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    this.name = `file://${root}`;
  }

  /** @throws E_PATH, E_REFUSED when nothing can be written there */
  async prepare(): Promise<void> {
    await ensureWritable(this.#root);
  }

  async head(key: string): Promise<ObjectState | undefined> {
    const state = await this.#state(key);
    // A directory remembers no digest, so the bytes are read: that is the only proof there is.
    return state && { ...state, digest: await sha256Of(this.content(key, state.size).open(0)) };
  }

  async put(
    key: string,
    content: Content,
    expected: ObjectBytes,
    signal?: AbortSignal,
  ): Promise<Pick<ObjectState, 'version'>> {
    await receiveFile(this.#path(key), content, expectationOf(expected, key), { signal });
    return { version: (await this.#state(key))?.version };
  }

  async get(key: string): Promise<Content | undefined> {
    const state = await this.#state(key);
    return state && this.content(key, state.size);
  }

  content(key: string, size: number): Content {
    return fileContent([this.extent(key, size)]);
  }

  /** Where the bytes of an object lie, for who reads files by another way. */
  extent(key: string, size: number): Extent {
    return { path: this.#path(key), offset: 0, size };
  }

  async copy(from: string, to: string): Promise<void> {
    const target = this.#path(to);
    const temporary = `${target}${partialSuffix}`;
    await mkdir(dirname(target), { recursive: true });
    try {
      await copyFileSynced(this.#path(from), temporary);
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw namePath(error, target);
    }
  }

  /** The folders that held nothing else go with it. */
  async remove(key: string): Promise<void> {
    const path = this.#path(key);
    await rm(path, { force: true });
    for (let folder = dirname(path); folder !== this.#root; folder = dirname(folder))
      if (!(await removeEmpty(folder))) return;
  }

  async *list(prefix: string): AsyncGenerator<ObjectState> {
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    if (!(await isDirectory(join(this.#root, folder)))) return;
    for (const entry of await listTree(join(this.#root, folder))) {
      const key = `${folder}${entry.path}`;
      const state = 'size' in entry && key.startsWith(prefix) ? await this.#state(key) : undefined;
      if (state) yield state;
    }
  }

  async #state(key: string): Promise<(ObjectState & { version: string }) | undefined> {
    const found = await ifThere(stat(this.#path(key)));
    return found?.isFile() ? { key, size: found.size, version: `mtime-${Math.floor(found.mtimeMs)}` } : undefined;
  }

  #path(key: string): string {
    return join(this.#root, checkRelativePath(key, 'an object'));
  }
}

async function removeEmpty(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}
