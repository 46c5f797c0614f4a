import { readFile, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { isDirectory } from '../../fs/directories.ts';
import { PackedList } from '../../bundle/lists/long-list.ts';
import { sortedList } from '../../bundle/lists/sorted-list.ts';
import { TextMap } from '../../bundle/lists/text-map.ts';
import { type Checksum, checksumOf, sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { linkTarget } from '../../core/path.ts';
import { ifThere } from '../../fs/if-there.ts';
import { mayBePartial, type TreeEntry, walkTree } from '../../fs/tree.ts';
import { repoOfFolder } from '../../hub/snapshot/cache.ts';
import { licencesFolder } from '../../hub/places.ts';
import { safetyReport } from '../../hub/safety/safety.ts';
import { eachListed } from '../../hub/snapshot/tree-document.ts';
import { filesFolder } from '../store/files.ts';
import { missing, runAgain, type StoredFiles } from './stored-files.ts';

/** A model of the store; paths are those of the files in the store. */
export interface StoredModel {
  repo: string;
  commit: string;
  refs: string[];
  files: PackedList<{ path: string; stored: string }>;
  tree: string;
}

/** What the hub folder has of one repo: there may be very many files in a snapshot. */
interface StoredRepo {
  refs: string[];
  snapshots: Map<string, PackedList<TreeEntry>>;
}

/**
 * The models of a store, and into `stored` what a bundle has to hold of all repos: what a ref leads to.
 * @throws E_CORRUPT, E_MISSING
 */
export async function readModels(stored: StoredFiles): Promise<StoredModel[]> {
  const hub = join(stored.store, 'hub');
  if (!(await isDirectory(hub))) return [];
  const models: StoredModel[] = [];
  const placed = new PlacedBlobs();
  for (const [folder, repo] of await readRepos(hub)) {
    const found = await readRepo(folder, repo, stored, placed);
    // Only models are brought to a bucket; the others are in the bundle for who unpacks it.
    if (folder.startsWith('models--')) models.push(...found);
  }
  return models;
}

async function readRepos(hub: string): Promise<Map<string, StoredRepo>> {
  // Where there are no links a snapshot holds the files themselves, and those have the names that they have.
  const isPartial = (path: string): boolean => path.split('/')[1] !== 'snapshots' && mayBePartial(path);
  const repos = new Map<string, StoredRepo>();
  for await (const entry of walkTree(hub, isPartial)) {
    const [folder = '', kind, commit = ''] = entry.path.split('/', 3);
    if (!/^(?:model|dataset|space)s--/.test(folder)) continue;
    const repo = repos.get(folder) ?? { refs: [], snapshots: new Map<string, PackedList<TreeEntry>>() };
    repos.set(folder, repo);
    if (kind === 'refs') repo.refs.push(entry.path);
    if (kind !== 'snapshots') continue;
    const snapshot = repo.snapshots.get(commit) ?? new PackedList<TreeEntry>();
    repo.snapshots.set(commit, snapshot);
    snapshot.push(entry);
  }
  return new Map([...repos].sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function readRepo(
  folder: string,
  { refs: refFiles, snapshots }: StoredRepo,
  stored: StoredFiles,
  placed: PlacedBlobs,
): Promise<StoredModel[]> {
  const { store } = stored;
  const commits = new Map<string, string[]>();
  for (const path of refFiles.sort()) {
    const commit = await readFile(join(store, 'hub', path), 'utf8');
    commits.set(commit, [...(commits.get(commit) ?? []), path.slice(`${folder}/refs/`.length)]);
    await stored.add(`hub/${path}`, checksumOf(sha256(commit)), runAgain);
  }
  const models: StoredModel[] = [];
  const known = new TextMap();
  for (const [commit, refs] of commits) {
    const tree = `hub/${folder}/trees/${commit}.json`;
    const repo = repoOfFolder(folder);
    const files = new PackedList<{ path: string; stored: string }>();
    const bytes = await readTree(store, tree);
    await stored.add(tree, checksumOf(sha256(bytes)), runAgain);
    const listed = new ListedFiles(bytes, tree);
    const snapshot = sortedList(snapshots.get(commit) ?? [], ({ path }) => path);
    for (const entry of snapshot) {
      const path = entry.path.slice(`${folder}/snapshots/${commit}/`.length);
      const place = placeInStore(entry, folder);
      const checksum = listed.take(path);
      if (!checksum) continue;
      if ('link' in entry) stored.links.push({ path: `hub/${entry.path}`, link: entry.link });
      const first = placed.firstOf(place);
      files.push({ path, stored: first });
      if (known.set(place, 0)) continue;
      if (first === place) await stored.add(place, checksum);
      else stored.links.push({ path: place, link: posix.relative(posix.dirname(place), first) });
    }
    refuseLacking(listed, `${repo}@${commit}`);
    models.push({ repo, commit, refs: refs.sort(), files, tree });
    await stored.addBelow(`${filesFolder}/${licencesFolder}/${folder}/${commit}`);
    await addReport(safetyReport(folder, commit), stored);
  }
  return models;
}

/** Where the bytes of a file of a snapshot are. @throws E_CORRUPT */
function placeInStore(entry: TreeEntry, folder: string): string {
  const path = 'link' in entry ? linkTarget(`hub/${entry.path}`, entry.link) : `hub/${entry.path}`;
  if (path?.startsWith(`hub/${folder}/`) === true) return path;
  throw new MirrorError('E_CORRUPT', `\`hub/${entry.path}\` leads out of its repo`, {
    at: { side: 'source', item: entry.path },
  });
}

async function addReport(path: string, stored: StoredFiles): Promise<void> {
  const found = await stat(join(stored.store, path)).catch(() => undefined);
  if (found?.isFile()) await stored.add(path);
}

async function readTree(store: string, path: string): Promise<Buffer> {
  const bytes = await ifThere(readFile(join(store, path)));
  if (!bytes) throw missing(path);
  return bytes;
}

/** The snapshot has to have each file that was fetched for it. @throws E_MISSING */
function refuseLacking(listed: ListedFiles, model: string): void {
  const lacking = listed.firstLeft();
  if (lacking !== undefined)
    throw new MirrorError('E_MISSING', `\`${lacking}\` of \`${model}\` is missing in the store`, {
      hint: `run \`sie-mirror snapshot ${model}\` again`,
      at: { side: 'source', item: lacking },
    });
}

/** Where blobs that are named by their sha256 stand for the first time: they are carried once, and each further repo gets a link. */
class PlacedBlobs {
  readonly #indexes = new TextMap();
  readonly #paths = new PackedList<string>();

  /** That place, which is `path` for one that has none yet, and for any other file. */
  firstOf(path: string): string {
    const name = posix.basename(path);
    if (name.length !== 64 || !/^hub\/[^/]+\/blobs$/.test(posix.dirname(path))) return path;
    const first = this.#paths.at(this.#indexes.get(name) ?? this.#paths.length);
    if (first !== undefined) return first;
    this.#indexes.set(name, this.#paths.length);
    this.#paths.push(path);
    return path;
  }
}

/** The files that a snapshot was made of, and which of them have been seen in it. */
class ListedFiles {
  readonly #indexes = new TextMap();
  readonly #files = new PackedList<{ path: string; checksum: Checksum }>();
  readonly #taken: Uint8Array;

  /** @throws E_CORRUPT */
  constructor(bytes: Buffer, name: string) {
    eachListed(bytes, name, (path, checksum) => {
      this.#indexes.set(path, this.#files.length);
      this.#files.push({ path, checksum });
    });
    this.#taken = new Uint8Array(this.#files.length);
  }

  take(path: string): Checksum | undefined {
    const index = this.#indexes.get(path);
    const file = index === undefined ? undefined : this.#files.at(index);
    if (index === undefined || file?.path !== path) return undefined;
    this.#taken[index] = 1;
    return file.checksum;
  }

  firstLeft(): string | undefined {
    const index = this.#taken.indexOf(0);
    return index < 0 ? undefined : this.#files.at(index)?.path;
  }
}
