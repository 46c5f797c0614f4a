import { readFile, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { LayoutEntry } from '../bundle/layout.ts';
import { PackedList } from '../bundle/long-list.ts';
import type { SourceFile } from '../bundle/source-file.ts';
import { type Checksum, checksumOf, type Digest, sha256 } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { safetyReport } from '../hub/safety.ts';
import { licencesFolder } from '../hub/places.ts';
import { readTreeDocument } from '../hub/tree-document.ts';
import { linkTarget } from '../core/path.ts';
import { directoryTree, listTree, mayBePartial, type TreeEntry } from '../fs/tree.ts';
import { repoOfFolder } from '../hub/cache.ts';
import type { Lock } from '../manifest/schema.ts';
import { descriptorsOf, type ImageGraph, readImage } from '../oci/graph.ts';
import { layoutFile, layoutIndexFile, OciLayout } from '../oci/layout/layout.ts';
import { splitName } from '../oci/layout/index-file.ts';
import { lostReferrers } from '../oci/lost.ts';
import { digestTag } from '../oci/reference.ts';
import { lockFile, readLock } from './store-lock.ts';
import { filesFolder } from './files.ts';

/** A model of the store; paths are those of the files in the store. */
export interface StoredModel {
  repo: string;
  commit: string;
  refs: string[];
  files: PackedList<{ path: string; stored: string }>;
  tree: string;
}

export interface StoredImage {
  reference: string;
  graph: ImageGraph;
}

/** What of a store belongs into a bundle: all that a ref or a name leads to, and nothing that an interrupted run left. */
export interface StoreContents {
  lock: Lock | undefined;
  models: StoredModel[];
  images: StoredImage[];
  files: SourceFile[];
  links: PackedList<{ path: string; link: string }>;
}

/** There may be many, so where it is on disk is made when it is asked for. */
class StoredFile implements SourceFile {
  readonly path: string;
  readonly size: number;
  readonly checksum: Checksum | undefined;
  readonly hint: string | undefined;
  readonly #store: string;

  constructor(store: string, path: string, size: number, checksum: Checksum | undefined, hint: string | undefined) {
    this.#store = store;
    this.path = path;
    this.size = size;
    this.checksum = checksum;
    this.hint = hint;
  }

  get from(): string {
    return join(this.#store, this.path);
  }
}

/** Others may fill the store meanwhile: what is sealed has to be the refs, lists and index that are read here, or nothing. */
const runAgain = 'wait for what else fills this store, and run the same command again';

/** @throws E_NOT_FOUND, E_CORRUPT, E_MISSING */
export async function readStore(store: string): Promise<StoreContents> {
  if (!(await isDirectory(store)))
    throw new MirrorError('E_NOT_FOUND', `there is no store \`${store}\``, {
      hint: 'name it with `--store`, or fill one with `sie-mirror pull`',
    });
  const contents: StoreContents = {
    lock: await readLock(store),
    models: [],
    images: [],
    files: [],
    links: new PackedList(),
  };
  if (contents.lock) await addFile(contents, store, lockFile);
  if (await isDirectory(join(store, 'hub'))) await readHub(store, contents);
  if (await isDirectory(join(store, 'oci'))) await readImages(store, contents);
  await readFiles(store, contents);
  if (contents.files.every(({ path }) => path === lockFile))
    throw new MirrorError('E_NOT_FOUND', `the store \`${store}\` holds no model and no image`, {
      hint: 'fill it with `sie-mirror pull`, `snapshot` or `copy`',
    });
  return contents;
}

/** Entries of the bundle, in the order in which they go into the volumes. */
export function entriesOf({ files, links }: StoreContents): LayoutEntry[] {
  return [...files.map(({ path, size }) => ({ path, size })), ...links].sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ?? false;
}

async function isDirectory(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() ?? false;
}

async function addFile(
  contents: StoreContents,
  store: string,
  path: string,
  checksum?: Checksum,
  hint?: string,
): Promise<void> {
  const found = await stat(join(store, path)).catch(() => undefined);
  if (!found?.isFile()) throw missing(path);
  contents.files.push(new StoredFile(store, path, found.size, checksum, hint));
}

function missing(path: string): MirrorError {
  return new MirrorError('E_MISSING', `\`${path}\` is missing in the store`, {
    hint: 'run the `pull`, `snapshot` or `copy` again that brought it',
    at: { side: 'source', item: path },
  });
}

async function readHub(store: string, contents: StoreContents): Promise<void> {
  // Where there are no links a snapshot holds the files themselves, and those have the names that they have.
  const isPartial = (path: string): boolean => path.split('/')[1] !== 'snapshots' && mayBePartial(path);
  const entries = await listTree(join(store, 'hub'), isPartial);
  const repos = new Map<string, TreeEntry[]>();
  for (const entry of entries) {
    const folder = entry.path.split('/')[0] ?? '';
    if (!/^(?:model|dataset|space)s--/.test(folder)) continue;
    const list = repos.get(folder);
    if (list) list.push(entry);
    else repos.set(folder, [entry]);
  }
  const placed = new Map<string, string>();
  for (const [folder, inside] of repos) await readRepo(store, folder, inside, contents, placed);
}

/** @param placed where each blob that names itself by its sha256 already stands */
async function readRepo(
  store: string,
  folder: string,
  entries: readonly TreeEntry[],
  contents: StoreContents,
  placed: Map<string, string>,
): Promise<void> {
  const commits = new Map<string, string[]>();
  for (const { path } of entries) {
    if (!path.startsWith(`${folder}/refs/`)) continue;
    const commit = await readFile(join(store, 'hub', path), 'utf8');
    commits.set(commit, [...(commits.get(commit) ?? []), path.slice(`${folder}/refs/`.length)]);
    await addFile(contents, store, `hub/${path}`, checksumOf(sha256(commit)), runAgain);
  }
  const found = new Map<string, Checksum | undefined>();
  const snapshots = snapshotsIn(folder, entries);
  for (const [commit, refs] of commits) {
    const base = `${folder}/snapshots/${commit}/`;
    const tree = `hub/${folder}/trees/${commit}.json`;
    const files = new PackedList<{ path: string; stored: string }>();
    for (const entry of snapshots.get(commit) ?? []) {
      const stored = 'link' in entry ? linkTarget(`hub/${entry.path}`, entry.link) : `hub/${entry.path}`;
      if (stored === undefined || !stored.startsWith(`hub/${folder}/`))
        throw new MirrorError('E_CORRUPT', `\`hub/${entry.path}\` leads out of its repo`, {
          at: { side: 'source', item: entry.path },
        });
      if ('link' in entry) contents.links.push({ path: `hub/${entry.path}`, link: entry.link });
      files.push({ path: entry.path.slice(base.length), stored });
    }
    const list = await readTree(store, tree);
    await addFile(contents, store, tree, checksumOf(sha256(list)), runAgain);
    const repo = repoOfFolder(folder);
    const listed = readTreeDocument(list, tree);
    checkFiles(files, listed, `${repo}@${commit}`);
    const model: StoredModel = { repo, commit, refs: refs.sort(), files: new PackedList(), tree };
    for (const file of files) {
      if (!listed.has(file.path)) continue;
      model.files.push(file);
      found.set(file.stored, listed.get(file.path));
    }
    // Only models are brought to a bucket; the others are in the bundle for who unpacks it.
    if (folder.startsWith('models--')) contents.models.push(model);
    await addNotices(contents, store, `${filesFolder}/${licencesFolder}/${folder}/${commit}`);
    const report = safetyReport(folder, commit);
    if (await isFile(join(store, report))) await addFile(contents, store, report);
  }
  for (const [path, checksum] of found) {
    const name = posix.basename(path);
    const isNamedByHash = name.length === 64 && posix.dirname(path) === `hub/${folder}/blobs`;
    const first = isNamedByHash ? placed.get(name) : undefined;
    if (first === undefined) await addFile(contents, store, path, checksum);
    else contents.links.push({ path, link: posix.relative(posix.dirname(path), first) });
    if (isNamedByHash) placed.set(name, first ?? path);
  }
}

/** What is in each snapshot of a repo, by commit; a repo may have many, and each many files. */
function snapshotsIn(folder: string, entries: readonly TreeEntry[]): Map<string, TreeEntry[]> {
  const base = `${folder}/snapshots/`;
  const snapshots = new Map<string, TreeEntry[]>();
  for (const entry of entries) {
    if (!entry.path.startsWith(base)) continue;
    const commit = entry.path.slice(base.length, entry.path.indexOf('/', base.length));
    const list = snapshots.get(commit);
    if (list) list.push(entry);
    else snapshots.set(commit, [entry]);
  }
  return snapshots;
}

async function readTree(store: string, path: string): Promise<string> {
  try {
    return await readFile(join(store, path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw missing(path);
  }
}

/** The snapshot has to have each file that was fetched for it. @throws E_MISSING */
function checkFiles(files: Iterable<{ path: string }>, listed: ReadonlyMap<string, Checksum>, model: string): void {
  const lacking = new Set(listed.keys());
  for (const { path } of files) lacking.delete(path);
  const [first] = lacking;
  if (first !== undefined)
    throw new MirrorError('E_MISSING', `\`${first}\` of \`${model}\` is missing in the store`, {
      hint: `run \`sie-mirror snapshot ${model}\` again`,
      at: { side: 'source', item: first },
    });
}

/** Single files that the lock names. */
async function readFiles(store: string, contents: StoreContents): Promise<void> {
  for (const { name, sha256 } of contents.lock?.files ?? []) {
    const checksum: Checksum | undefined = sha256 === undefined ? undefined : { algorithm: 'sha256', hex: sha256 };
    await addFile(contents, store, `${filesFolder}/${name}`, checksum);
  }
}

async function addNotices(contents: StoreContents, store: string, folder: string): Promise<void> {
  if (!(await isDirectory(join(store, folder)))) return;
  for (const { path } of await listTree(join(store, folder), () => false))
    await addFile(contents, store, `${folder}/${path}`);
}

/** An inventory knows contents by their sha256. @throws E_REFUSED */
function refuseOtherDigests(name: string, graph: ImageGraph): void {
  const other = descriptorsOf(graph).find(({ digest }) => !digest.startsWith('sha256:'));
  if (other)
    throw new MirrorError('E_REFUSED', `\`${name}\` has parts that are called by another digest than sha256`, {
      hint: 'a bundle does not carry it: have it built with sha256, or bring it with `sie-mirror copy` and take it out of the store',
      at: { side: 'source', item: other.digest },
    });
}

async function readImages(store: string, contents: StoreContents): Promise<void> {
  const index = sha256(await readFile(join(store, 'oci', layoutIndexFile)));
  const layout = new OciLayout(directoryTree(join(store, 'oci')), join(store, 'oci'));
  const names = (await layout.named()).map(({ name }) => name).sort();
  const covered = new Set<Digest>();
  const plain = names.filter((name) => digestTag(splitName(name).reference) === undefined);
  // What cosign names after a digest comes with the image of that digest; alone it is an image of its own.
  for (const name of [...plain, ...names.filter((other) => !plain.includes(other))]) {
    const { repository, reference } = splitName(name);
    const view = layout.view(repository);
    const root = await view.resolve(reference);
    if (covered.has(root.digest) && !plain.includes(name)) continue;
    const graph = await readImage(view, root, { slots: 8, referrers: true });
    if (graph.lost.length > 0) throw lostReferrers(graph.lost, `of \`${name}\` `);
    refuseOtherDigests(name, graph);
    contents.images.push({ reference: name, graph });
    for (const { digest } of descriptorsOf(graph)) {
      if (!covered.has(digest))
        await addFile(contents, store, `oci/blobs/${digest.replace(':', '/')}`, checksumOf(digest));
      covered.add(digest);
    }
  }
  await addFile(contents, store, `oci/${layoutFile}`);
  await addFile(contents, store, `oci/${layoutIndexFile}`, checksumOf(index), runAgain);
}
