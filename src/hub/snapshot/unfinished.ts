import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { abandonedMs } from '../../fs/freed.ts';
import type { RepoFile } from '../repo.ts';

/**
 * Which blobs runs have begun to bring that did not come to their end, by revision: what they left of them is not to be
 * swept before somebody has run the same again. Beside what readers of the cache look at.
 */
export class UnfinishedRuns {
  readonly #folder: string;

  /** @param repo directory of the repo in the cache */
  constructor(repo: string) {
    this.#folder = join(repo, '.unfinished');
  }

  /** In place of what an earlier run of the same revision wanted. Not waited for on the medium: it saves bytes, it proves nothing. */
  async begin(revision: string, files: readonly RepoFile[]): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await writeFile(this.#path(revision), files.map(({ checksum }) => `${checksum.hex}\n`).join(''));
  }

  async end(revision: string): Promise<void> {
    await rm(this.#path(revision), { force: true });
    await this.#tidy();
  }

  /** Hashes that a run still wants which may be run again; what is too old is forgotten. */
  async wanted(now = Date.now()): Promise<Set<string>> {
    const hashes = new Set<string>();
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const path = join(this.#folder, name);
      if (now - (await stat(path)).mtimeMs > abandonedMs) await rm(path);
      else for (const hash of (await readFile(path, 'utf8')).split('\n')) hashes.add(hash);
    }
    await this.#tidy();
    return hashes;
  }

  /** A revision may have any name. */
  #path(revision: string): string {
    return join(this.#folder, createHash('sha256').update(revision).digest('hex'));
  }

  async #tidy(): Promise<void> {
    await rmdir(this.#folder).catch(() => {});
  }
}
