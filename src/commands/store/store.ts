import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDirectory } from '../../fs/directories.ts';
import type { LayoutEntry } from '../../bundle/writing/layout.ts';
import type { PackedList } from '../../bundle/lists/long-list.ts';
import { sortedList } from '../../bundle/lists/sorted-list.ts';
import type { SourceFile } from '../../bundle/writing/source-file.ts';
import { checksumOf, type Digest, sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { directoryTree } from '../../fs/tree.ts';
import type { Lock } from '../../manifest/schema.ts';
import { descriptorsOf, type ImageGraph, readImage } from '../../oci/graph.ts';
import { layoutFile, layoutIndexFile, OciLayout } from '../../oci/layout/layout.ts';
import { splitName } from '../../oci/layout/index-file.ts';
import { leftOutOf } from '../../oci/lost.ts';
import { digestTag } from '../../oci/reference.ts';
import { runAgain, StoredFiles, type StoredLink } from '../bundle/stored-files.ts';
import { readModels, type StoredModel } from '../bundle/stored-models.ts';
import { filesFolder } from './files.ts';
import { lockFile, readLock } from './store-lock.ts';

export interface StoredImage {
  reference: string;
  graph: ImageGraph;
}

/**
 * What of a store belongs into a bundle: all that a ref or a name leads to, and nothing that an interrupted run left.
 * Files and links are in the order of their paths.
 */
export interface StoreContents {
  /** Its directory. */
  store: string;
  lock: Lock | undefined;
  models: StoredModel[];
  images: StoredImage[];
  files: PackedList<SourceFile>;
  links: PackedList<StoredLink>;
}

/** @throws E_NOT_FOUND, E_CORRUPT, E_MISSING */
export async function readStore(store: string): Promise<StoreContents> {
  if (!(await isDirectory(store)))
    throw new MirrorError('E_NOT_FOUND', `there is no store \`${store}\``, {
      hint: 'name it with `--store`, or fill one with `sie-mirror pull`',
    });
  const stored = new StoredFiles(store);
  const lock = await readLock(store);
  if (lock) await stored.add(lockFile);
  const models = await readModels(stored);
  const images = await readImages(stored);
  for (const { name, sha256: hex } of lock?.files ?? [])
    await stored.add(`${filesFolder}/${name}`, hex === undefined ? undefined : { algorithm: 'sha256', hex });
  if (!stored.files.find(({ path }) => path !== lockFile))
    throw new MirrorError('E_NOT_FOUND', `the store \`${store}\` holds no model and no image`, {
      hint: 'fill it with `sie-mirror pull`, `snapshot` or `copy`',
    });
  const pathOf = ({ path }: { path: string }): string => path;
  const files = sortedList(stored.files, pathOf);
  const links = sortedList(stored.links, pathOf);
  return { store, lock, models, images, files, links };
}

/** Entries of the bundle, in the order in which they go into the volumes. */
export function* entriesOf({ files, links }: StoreContents): Generator<LayoutEntry> {
  const rest = links[Symbol.iterator]();
  let link = rest.next();
  for (const file of files) {
    for (; link.done !== true && link.value.path < file.path; link = rest.next()) yield link.value;
    yield file;
  }
  for (; link.done !== true; link = rest.next()) yield link.value;
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

async function readImages(stored: StoredFiles): Promise<StoredImage[]> {
  const { store } = stored;
  if (!(await isDirectory(join(store, 'oci')))) return [];
  const images: StoredImage[] = [];
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
    const [lacking] = leftOutOf(graph, `of \`${name}\` `);
    if (lacking) throw lacking.error;
    refuseOtherDigests(name, graph);
    images.push({ reference: name, graph });
    for (const { digest } of descriptorsOf(graph)) {
      if (!covered.has(digest)) await stored.add(`oci/blobs/${digest.replace(':', '/')}`, checksumOf(digest));
      covered.add(digest);
    }
  }
  await stored.add(`oci/${layoutFile}`);
  await stored.add(`oci/${layoutIndexFile}`, checksumOf(index), runAgain);
  return images;
}
