import { lstat, mkdir, readFile, readdir, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { MirrorError, toMirrorError } from '../../core/errors.ts';
import { forEachLimited } from '../../core/limit.ts';
import type { Content } from '../../core/ports.ts';
import { copyFileSynced, ensureWritable, partialSuffix, writeFileAtomic } from '../../fs/atomic.ts';
import { isDirectory, syncDirectory, syncFolders } from '../../fs/directories.ts';
import { hasFile, receiveFile, type ReceiveOptions } from '../../fs/receive.ts';
import { rangePlaces, type RangesOptions, receiveRanges } from '../../fs/receive-ranges.ts';
import { checkNames, oddPaths } from '../names.ts';
import { OtherSnapshots } from './other-snapshots.ts';
import { prune } from './prune.ts';
import type { RepoFile, RepoType } from '../repo.ts';
import { treeDocument } from './tree-document.ts';

/** `models--ORG--NAME` */
export function repoFolder(repo: string, type: RepoType = 'model'): string {
  return `${type}s--${repo.split('/').join('--')}`;
}

/** The repo that has such a folder. */
export function repoOfFolder(folder: string): string {
  return folder.slice(folder.indexOf('--') + 2).replace('--', '/');
}

export interface CacheOptions {
  /** False keeps real files in `snapshots/`, as huggingface_hub does where it finds no symbolic links. */
  symlinks: boolean;
  /** The system's call; another one plays a file system without links. */
  symlink?: typeof symlink;
}

/** What a file system answers that has no symbolic links. */
const withoutLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/** Calls of the file system wait for each other less than for us. */
const linksAtOnce = 16;

/**
 * One repo in the cache layout of huggingface_hub: blobs by their hash, snapshots as links to them, refs.
 * https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 */
export class RepoCache {
  readonly directory: string;
  readonly #options: CacheOptions;
  readonly #others: OtherSnapshots;
  #symlinks: boolean;

  /** @param hub the directory that HF_HUB_CACHE would point at */
  constructor(hub: string, folder: string, options: CacheOptions = { symlinks: true }) {
    this.directory = join(hub, folder);
    this.#options = options;
    this.#symlinks = options.symlinks;
    this.#others = new OtherSnapshots(this.directory);
  }

  /** Finds out whether links can be made there. */
  async prepare(): Promise<void> {
    await ensureWritable(this.directory);
    await this.#sweepRefs();
    if (!this.#symlinks) return;
    const probe = join(this.directory, `.link${partialSuffix}`);
    await rm(probe, { force: true });
    try {
      await this.#link('refs/main', probe);
      await rm(probe);
    } catch (error) {
      if (!withoutLinks.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      this.#symlinks = false;
    }
  }

  /**
   * Whether the file system can have a snapshot's names; not tried again where the same files stand.
   * @throws E_REFUSED
   */
  async checkNames(commit: string, files: readonly RepoFile[], repo: string): Promise<void> {
    const odd = oddPaths(files.map(({ path }) => path));
    if (odd.length === 0 || (await this.#hasTree(commit, files))) return;
    await checkNames(join(this.directory, `.names-${commit}`), odd, repo);
  }

  /** Whether nothing at all is there of a commit's files: then no file has to be looked for. */
  async isBare(commit: string): Promise<boolean> {
    const folders = ['blobs', join('snapshots', commit)].map((name) => join(this.directory, name));
    const found = await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])));
    return found.every((names) => names.length === 0);
  }

  /** Where the bytes of a file are, by name and size: their hash was checked when they came. */
  async find(commit: string, file: RepoFile): Promise<string | undefined> {
    const blob = this.#blob(file);
    if (await hasFile(blob, file.size)) return blob;
    const plain = this.#place(commit, file);
    const found = await lstat(plain).catch(() => undefined);
    return found?.isFile() && found.size === file.size ? plain : undefined;
  }

  /** Where another snapshot has the bytes of a file, by name and size: one that was made where there were no links. */
  async findInOthers(file: RepoFile): Promise<string | undefined> {
    return this.#others.find(file.checksum.hex, file.size);
  }

  /** Bytes of a file that an earlier run has left in partial files; one of ranges has holes. */
  async partialBytes(file: RepoFile): Promise<number> {
    const places = [`${this.#blob(file)}${partialSuffix}`, rangePlaces(this.#blob(file)).partial];
    const found = await Promise.all(places.map((path) => stat(path).catch(() => undefined)));
    return found.reduce((sum, each) => sum + Math.min(each?.size ?? 0, 512 * (each?.blocks ?? 0)), 0);
  }

  /** Whether an earlier run has begun to receive it in one piece. */
  async isBegun(file: RepoFile): Promise<boolean> {
    return ((await stat(`${this.#blob(file)}${partialSuffix}`).catch(() => undefined))?.size ?? 0) > 0;
  }

  /** The same by several ranges at once. @throws E_PROTOCOL when the source ignores ranges */
  async receiveRanges(
    file: RepoFile,
    part: (from: number, to: number) => Content,
    item: string,
    options: RangesOptions,
  ): Promise<void> {
    await receiveRanges(this.#blob(file), part, { size: file.size, checksum: file.checksum, item }, options);
  }

  /** @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH, and what `content` throws */
  async receive(file: RepoFile, content: Content, item: string, options: ReceiveOptions): Promise<void> {
    await receiveFile(this.#blob(file), content, { size: file.size, checksum: file.checksum, item }, options);
  }

  /** Forgets the ranges of a file that comes whole now. */
  async dropRanges(file: RepoFile): Promise<void> {
    const { partial, journal } = rangePlaces(this.#blob(file));
    await rm(partial, { force: true });
    await rm(journal, { force: true });
  }

  /**
   * Takes a file by `bring`, which makes one at the path that it is given, unless it cannot; then `check` says whether its
   * bytes are right. Nothing gets a final name before.
   */
  async adopt(
    file: RepoFile,
    bring: (path: string) => Promise<boolean>,
    check: (path: string) => Promise<boolean>,
  ): Promise<boolean> {
    const path = `${this.#blob(file)}.adopted${partialSuffix}`;
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    const isRight = (await bring(path)) && (await check(path));
    await (isRight ? rename(path, this.#blob(file)) : rm(path, { force: true }));
    return isRight;
  }

  /** Forgets the bytes of a file that are not what they should be. */
  async drop(commit: string, file: RepoFile): Promise<void> {
    await rm(this.#blob(file), { force: true });
    await rm(this.#place(commit, file), { force: true });
  }

  /**
   * Puts files where readers look for them: links to their blobs, relative, so that the cache can be moved; or where there
   * are no links, the files themselves.
   * @returns whether anything was put there
   */
  async place(commit: string, files: readonly RepoFile[]): Promise<boolean> {
    const folders = new Set(files.map((file) => dirname(this.#place(commit, file))));
    const isFresh = (await readdir(join(this.directory, 'snapshots', commit)).catch(() => [])).length === 0;
    for (const folder of folders) await mkdir(folder, { recursive: true });
    if (!this.#symlinks) return this.#placeFiles(commit, files);
    let isNew = false;
    await forEachLimited(files, linksAtOnce, async (file) => {
      if (await this.#placeLink(commit, file, isFresh)) isNew = true;
    });
    return isNew;
  }

  /** @param isFresh nothing stood in the snapshot before */
  async #placeLink(commit: string, file: RepoFile, isFresh: boolean): Promise<boolean> {
    const path = this.#place(commit, file);
    const target = posix.relative(
      posix.dirname(posix.join('snapshots', commit, file.path)),
      `blobs/${file.checksum.hex}`,
    );
    const found = isFresh ? undefined : await linkAt(path);
    if (found === target) return false;
    // A store that came from a file system without links has real files here, and no blobs.
    if (found === '' && !(await hasFile(this.#blob(file), file.size))) return false;
    if (found !== undefined) await rm(path);
    await this.#link(target, path);
    return true;
  }

  /** A blob with several names is copied for all but the last of them. */
  async #placeFiles(commit: string, files: readonly RepoFile[]): Promise<boolean> {
    let isNew = false;
    const names = new Map<string, number>();
    for (const { checksum } of files) names.set(checksum.hex, (names.get(checksum.hex) ?? 0) + 1);
    for (const file of files) {
      const left = (names.get(file.checksum.hex) ?? 1) - 1;
      names.set(file.checksum.hex, left);
      const blob = this.#blob(file);
      if (!(await hasFile(blob, file.size))) continue;
      const path = this.#place(commit, file);
      if ((await linkAt(path)) !== undefined) await rm(path);
      const partial = `${blob}.copy${partialSuffix}`;
      if (left > 0) await copyFileSynced(blob, partial);
      await rename(left > 0 ? partial : blob, path);
      isNew = true;
    }
    return isNew;
  }

  /**
   * Waits until the names of blobs and of a snapshot are on the medium: a ref that outlives a power cut must not lead to
   * what did not. The bytes of files were waited for when they came.
   */
  async sync(commit: string, files: readonly RepoFile[]): Promise<void> {
    const blobs = join(this.directory, 'blobs');
    // A store without links may have come without it.
    if (await isDirectory(blobs)) await syncDirectory(blobs);
    await syncFolders(
      files.map((file) => this.#place(commit, file)),
      this.directory,
    );
  }

  /** What stands in a snapshot and does not belong to it: an earlier run wanted more. @returns how many files */
  async prune(commit: string, files: readonly RepoFile[]): Promise<number> {
    return prune(join(this.directory, 'snapshots', commit), files);
  }

  /**
   * huggingface_hub 1.26 to 2.1 reads a pinned snapshot offline only with this list, and every version from 1.22 on
   * refuses a snapshot that lacks one of its files: it must be exact.
   */
  async writeTree(commit: string, files: readonly RepoFile[]): Promise<void> {
    if (!(await this.#hasTree(commit, files))) await writeFileAtomic(this.#tree(commit), treeDocument(files));
  }

  async #hasTree(commit: string, files: readonly RepoFile[]): Promise<boolean> {
    return (await readFile(this.#tree(commit), 'utf8').catch(() => '')) === treeDocument(files);
  }

  /**
   * Last of all: a ref says that its snapshot is whole. Readers do not strip a newline, so there is none; and they take
   * every file below `refs/` for a ref, so it is written outside.
   */
  async writeRef(revision: string, commit: string): Promise<void> {
    const path = join(this.directory, 'refs', revision);
    try {
      await writeFileAtomic(path, commit, 0o644, join(this.directory, '.ref'));
    } catch (error) {
      const { code, message } = toMirrorError(error);
      if (code !== 'E_PATH') throw error;
      // A branch that is gone may have had the name of a folder of this one, or been in one of its name.
      throw new MirrorError(code, message, { hint: 'move it away and run the same command again', cause: error });
    }
  }

  async hasRef(revision: string, commit: string): Promise<boolean> {
    return (await readFile(join(this.directory, 'refs', revision), 'utf8').catch(() => '')) === commit;
  }

  /** A ref that was half written when an earlier version was killed makes readers drop the whole repo. */
  async #sweepRefs(): Promise<void> {
    const refs = join(this.directory, 'refs');
    for (const name of await readdir(refs, { recursive: true }).catch(() => []))
      if (/\.[0-9a-f]{8}\.partial$/.test(name)) await rm(join(refs, name), { force: true });
  }

  #tree(commit: string): string {
    return join(this.directory, 'trees', `${commit}.json`);
  }

  #blob(file: RepoFile): string {
    return join(this.directory, 'blobs', file.checksum.hex);
  }

  #place(commit: string, file: RepoFile): string {
    return join(this.directory, 'snapshots', commit, file.path);
  }

  async #link(target: string, path: string): Promise<void> {
    await (this.#options.symlink ?? symlink)(target, path);
  }
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
