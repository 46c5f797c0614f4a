import { posix } from 'node:path';
import { FileDigests } from '../../bundle/lists/file-digests.ts';
import type { ImageItem, Inventory } from '../../bundle/records/inventory.ts';
import type { Receipt } from '../../bundle/records/receipt.ts';
import { formatChecksum } from '../../core/digest.ts';
import { filesFolder } from '../store/files.ts';
import { licencesFolder } from '../../hub/places.ts';
import { repoOfFolder } from '../../hub/snapshot/cache.ts';
import type { Lock } from '../../manifest/schema.ts';
import type { Context } from '../context.ts';
import { type MirrorRecord, readRecord } from './record.ts';
import { openBundle, type TrustOptions } from './sealed.ts';

/** A file; `id` is `algorithm:hex`. A lock may know neither of what was never fetched. */
export interface HeldFile {
  id?: string | undefined;
  size?: number | undefined;
}

/** A repo of the hub at one commit; there may be several commits of it. */
export interface HeldRepo {
  kind: 'model' | 'dataset' | 'space';
  repo: string;
  commit: string;
  files: Map<string, HeldFile>;
}

export interface HeldImage {
  digest: string;
  /** Its blobs by their digests, where they are known, with their sizes, or 0 where those are not. */
  blobs?: Map<string, number> | undefined;
  /** Of everything that belongs to it, where that is known. */
  bytes?: number | undefined;
}

/** What an inventory, a receipt or a lock speaks of, by name, so that any two of them can be compared. */
export interface Holdings {
  name: string;
  repos: HeldRepo[];
  /** By reference. */
  images: Map<string, HeldImage>;
  /** Single files, by name. */
  files: Map<string, HeldFile>;
}

/** @throws E_NOT_FOUND, E_CORRUPT, E_SIGNATURE, E_USAGE for a file that is none of these */
export async function readHoldings(path: string, trust: TrustOptions, context: Context): Promise<Holdings> {
  return holdingsOf(await readRecord(path, context, async (directory) => openBundle(directory, trust, context), trust));
}

/** The same of a record that has been read. */
export function holdingsOf(record: MirrorRecord): Holdings {
  if (record.kind === 'inventory') return ofInventory(record.inventory);
  return record.kind === 'receipt' ? ofReceipt(record.receipt) : ofLock(record.lock);
}

function ofInventory(inventory: Inventory): Holdings {
  const { name, items, blobs, base } = inventory;
  const imageBlobs = blobs.filter(({ path }) => path.startsWith('oci/blobs/'));
  const sizes = new Map([...imageBlobs, ...(base?.held ?? [])].map(({ digest, size }) => [digest as string, size]));
  const models = items.flatMap((item): HeldRepo[] =>
    item.kind === 'model'
      ? [
          {
            kind: 'model',
            repo: item.repo,
            commit: item.commit,
            files: new Map(item.files.map(({ path, digest, size }) => [path, { id: digest, size }])),
          },
        ]
      : [],
  );
  const images = items.filter((item): item is ImageItem => item.kind === 'image');
  const single = blobs.filter(({ path }) => isSingleFile(path));
  return {
    name,
    repos: [...models, ...otherRepos(inventory)],
    images: new Map(images.map(({ reference, root, digests }) => [reference, heldImage(root.digest, digests, sizes)])),
    files: new Map(single.map(({ path, digest, size }) => [path.slice(filesFolder.length + 1), { id: digest, size }])),
  };
}

function isSingleFile(path: string): boolean {
  return path.startsWith(`${filesFolder}/`) && !path.startsWith(`${filesFolder}/${licencesFolder}/`);
}

function heldImage(digest: string, digests: readonly string[], sizes: ReadonlyMap<string, number>): HeldImage {
  const blobs = new Map(digests.map((each) => [each, sizes.get(each) ?? 0]));
  return { digest, blobs, bytes: [...blobs.values()].reduce((sum, size) => sum + size, 0) };
}

const otherRepoPath = /^hub\/((dataset|space)s--[^/]+)\/snapshots\/([^/]+)\/(.+)$/;

/** Datasets and spaces are no items of an inventory: nobody imports them. They are files of it, and links. */
function otherRepos({ blobs, links }: Inventory): HeldRepo[] {
  const files = blobs.filter(({ path }) => otherRepoPath.test(path)).map(({ path }) => ({ path, stored: path }));
  for (const { path, target } of links)
    if (otherRepoPath.test(path)) files.push({ path, stored: posix.join(posix.dirname(path), target) });
  if (files.length === 0) return [];
  const digests = new FileDigests(blobs);
  // What several repos hold stands once: in the others a link leads to it.
  const elsewhere = new Map(
    links
      .filter(({ path }) => /\/blobs\/[0-9a-f]{64}$/.test(path))
      .map(({ path, target }) => [path, posix.join(posix.dirname(path), target)]),
  );
  const repos = new Map<string, HeldRepo>();
  for (const { path, stored } of files) {
    const [, folder = '', kind, commit = '', name = ''] = otherRepoPath.exec(path) ?? [];
    const found = digests.get(stored) ?? digests.get(elsewhere.get(stored) ?? '');
    const key = `${folder} ${commit}`;
    const repo = repos.get(key) ?? {
      kind: kind === 'dataset' ? 'dataset' : 'space',
      repo: repoOfFolder(folder),
      commit,
      files: new Map(),
    };
    repo.files.set(name, { id: found?.digest, size: found?.size });
    repos.set(key, repo);
  }
  return [...repos.values()];
}

function ofReceipt({ bundle, models, images, charts = [], files = [] }: Receipt): Holdings {
  return {
    name: bundle.name,
    repos: models.map(({ repo, commit, objects }) => ({
      kind: 'model',
      repo,
      commit,
      files: filesOf(repo, commit, objects),
    })),
    images: new Map<string, HeldImage>([
      ...charts.map(({ reference, digest }): [string, HeldImage] => [reference, { digest }]),
      // Of a receipt the blobs are known, and not how large they are.
      ...images.map(({ reference, digest, digests }): [string, HeldImage] => [
        reference,
        { digest, blobs: new Map(digests.map((each) => [each, 0])) },
      ]),
    ]),
    files: new Map(files.map(({ path, digest, size }) => [path, { id: digest, size }])),
  };
}

/** In a snapshot, or right below the name of the model where it has none. */
function filesOf(repo: string, commit: string, objects: Receipt['models'][number]['objects']): Map<string, HeldFile> {
  const snapshot = `/snapshots/${commit}/`;
  const below = objects.some(({ key }) => key.includes(snapshot)) ? snapshot : `${repo}/`;
  return new Map(
    objects
      .filter(({ key }) => key.includes(below))
      .map(({ key, digest, size }) => [key.slice(key.indexOf(below) + below.length), { id: digest, size }]),
  );
}

function ofLock({ name, models, images, files }: Lock): Holdings {
  return {
    name,
    repos: models.map(({ type, repo, commit, files: inside }) => ({
      kind: type,
      repo,
      commit,
      files: new Map(inside.map(({ path, size, checksum }) => [path, { id: formatChecksum(checksum), size }])),
    })),
    images: new Map(images.map(({ reference, root, bytes }) => [reference, { digest: root.digest, bytes }])),
    files: new Map(
      files.map(({ name: file, size, sha256 }) => [
        file,
        { id: sha256 === undefined ? undefined : `sha256:${sha256}`, size },
      ]),
    ),
  };
}
