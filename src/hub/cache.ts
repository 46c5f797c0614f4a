import { lstat, mkdir, readlink, rm, symlink } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import type { Content } from '../core/ports.ts';
import { ensureWritable, writeFileAtomic } from '../fs/atomic.ts';
import { hasFile, receiveFile, type ReceiveOptions } from '../fs/receive.ts';
import type { RepoFile } from './client.ts';

/** `models--ORG--NAME` */
export function repoFolder(repo: string): string {
  return `models--${repo.split('/').join('--')}`;
}

/**
 * One repo in the cache layout of huggingface_hub: blobs by their hash, snapshots as links to them, refs.
 * https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 */
export class RepoCache {
  readonly directory: string;

  /** @param hub the directory that HF_HUB_CACHE would point at */
  constructor(hub: string, repo: string) {
    this.directory = join(hub, repoFolder(repo));
  }

  async prepare(): Promise<void> {
    await ensureWritable(this.directory);
  }

  /** By size: the hash was checked when it came. */
  async has(file: RepoFile): Promise<boolean> {
    return hasFile(this.#blob(file), file.size);
  }

  async receive(file: RepoFile, content: Content, item: string, options: ReceiveOptions): Promise<void> {
    await receiveFile(this.#blob(file), content, { size: file.size, checksum: file.checksum, item }, options);
  }

  /** The link by which readers find a blob: relative, so that the cache can be moved. */
  async link(commit: string, file: RepoFile): Promise<void> {
    const path = join(this.directory, 'snapshots', commit, file.path);
    const target = posix.relative(
      posix.dirname(posix.join('snapshots', commit, file.path)),
      `blobs/${file.checksum.hex}`,
    );
    const found = await linkAt(path);
    if (found === target) return;
    if (found !== undefined) await rm(path);
    await mkdir(dirname(path), { recursive: true });
    await symlink(target, path);
  }

  /** huggingface_hub 1.26 to 2.1 reads a pinned snapshot offline only with this list; it must be exact. */
  async writeTree(commit: string, files: readonly RepoFile[]): Promise<void> {
    await writeFileAtomic(join(this.directory, 'trees', `${commit}.json`), treeDocument(files));
  }

  /** Last of all: a ref says that its snapshot is whole. Readers do not strip a newline, so there is none. */
  async writeRef(revision: string, commit: string): Promise<void> {
    await writeFileAtomic(join(this.directory, 'refs', revision), commit);
  }

  #blob(file: RepoFile): string {
    return join(this.directory, 'blobs', file.checksum.hex);
  }
}

/** The content of `trees/COMMIT.json`, the same for the same files. */
function treeDocument(files: readonly RepoFile[]): string {
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  const entries = sorted.map(({ path, size, checksum, gitOid }) => [
    path,
    { size, blob_id: gitOid, ...(checksum.algorithm === 'sha256' ? { lfs_sha256: checksum.hex, lfs_size: size } : {}) },
  ]);
  return JSON.stringify({ format_version: 1, files: Object.fromEntries(entries) });
}

/** The target of a link, empty for a file that is none; undefined when nothing stands there. */
async function linkAt(path: string): Promise<string | undefined> {
  try {
    if ((await lstat(path)).isDirectory())
      throw new MirrorError('E_PATH', `\`${path}\` is a directory, a link was wanted`, {
        hint: 'move it away and run the same command again',
      });
    return await readlink(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'EINVAL') return '';
    throw error;
  }
}
