import { join, posix } from 'node:path';
import type { HeldBlob, Inventory } from '../../bundle/records/inventory.ts';
import { PackedList } from '../../bundle/lists/long-list.ts';
import { openSealed, type SealedBundle } from '../../bundle/reader.ts';
import type { Receipt } from '../../bundle/records/receipt.ts';
import type { SourceFile } from '../../bundle/writing/source-file.ts';
import type { Digest } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { forEachBySize } from '../../core/limit.ts';
import { sha256Of } from '../../core/stream.ts';
import { fileContent } from '../../fs/read.ts';
import { repoFolder } from '../../hub/snapshot/cache.ts';
import { descriptorsOf } from '../../oci/graph.ts';
import { splitName } from '../../oci/layout/index-file.ts';
import { isManifest } from '../../oci/types.ts';
import type { Context } from '../context.ts';
import { readRecord } from './record.ts';
import { readTrust } from './sealed.ts';
import type { StoreContents } from '../store/store.ts';

/** What the zone is known to hold: the ground of a delta. */
export interface Base {
  name: string;
  /** Of the receipt or inventory that says so. */
  digest: Digest;
  /** Where the files of models lie, below their target. */
  models: Map<Digest, string>;
  /** What the repositories hold, by the name that they have at the source. */
  images: Map<string, Set<Digest>>;
}

/**
 * A receipt, an inventory, or a bundle. `import` looks for all of it in the zone, so nobody has to have signed it.
 * @param keys paths of public keys, one of which must have signed a receipt or a bundle
 * @throws E_NOT_FOUND, E_CORRUPT, E_SIGNATURE, E_DIGEST_MISMATCH, E_USAGE for a lock, or the receipt of an import that was not complete
 */
export async function readBase(path: string, keys: readonly string[], context: Context): Promise<Base> {
  const openBase = async (directory: string): Promise<SealedBundle> =>
    openSealed(context.path(directory), await readTrust({ keys }, context));
  const record = await readRecord(path, context, openBase, { keys });
  if (record.kind === 'inventory' && keys.length > 0 && path.endsWith('.json'))
    throw new MirrorError('E_SIGNATURE', `\`${path}\` is an inventory, which has no signature of its own`, {
      hint: 'give the directory of its bundle, or a signed receipt',
    });
  if (record.kind === 'inventory') return ofInventory(record.inventory, record.digest);
  if (record.kind === 'receipt') return ofReceipt(record.receipt, record.digest, path);
  throw new MirrorError('E_USAGE', `\`${path}\` is a lock: it says what was wanted, not what the zone holds`, {
    hint: 'give the receipt that `sie-mirror import` wrote in the zone',
  });
}

function ofReceipt(receipt: Receipt, digest: Digest, path: string): Base {
  if (!receipt.complete)
    throw new MirrorError('E_USAGE', `\`${path}\` is the receipt of an import that was not complete`, {
      hint: 'finish that import first, and take the receipt that it writes then',
    });
  const base: Base = { name: receipt.bundle.name, digest, models: new Map(), images: new Map() };
  for (const { objects } of receipt.models)
    for (const object of objects) if (isSnapshotFile(object.key)) base.models.set(object.digest, object.key);
  for (const { reference, digests } of receipt.images) holds(base, reference, digests);
  return base;
}

/** What a bundle brings, and what it built on itself. */
function ofInventory(inventory: Inventory, digest: Digest): Base {
  const base: Base = { name: inventory.name, digest, models: new Map(), images: new Map() };
  for (const item of inventory.items) {
    if (item.kind === 'image') holds(base, item.reference, item.digests);
    else
      for (const file of item.files)
        base.models.set(file.digest, `${repoFolder(item.repo)}/snapshots/${item.commit}/${file.path}`);
  }
  return base;
}

function isSnapshotFile(key: string): boolean {
  return /^models--[^/]+\/snapshots\//.test(key);
}

function holds(base: Base, reference: string, digests: readonly Digest[]): void {
  const { repository } = splitName(reference);
  const held = base.images.get(repository) ?? new Set();
  for (const digest of digests) held.add(digest);
  base.images.set(repository, held);
}

/** Paths of the store that a delta leaves out, with what they are. */
export interface LeftOut {
  held: HeldBlob[];
  paths: Map<string, { digest: Digest; size: number }>;
}

/**
 * Takes out of the contents what the base holds: by digest, never by name or date. Manifests stay: they are small, and
 * an image is read by them.
 */
export async function leaveOut(contents: StoreContents, base: Base, context: Context): Promise<LeftOut> {
  const left: LeftOut = { held: [], paths: new Map() };
  await leaveOutModels(contents, base, left, context);
  leaveOutImages(contents, base, left);
  const files = new PackedList<SourceFile>();
  for (const file of contents.files) if (!left.paths.has(file.path)) files.push(file);
  contents.files = files;
  left.held.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  return left;
}

function sortKey({ digest, key = '', repository = '' }: HeldBlob): string {
  return `${digest} ${repository} ${key}`;
}

async function leaveOutModels(contents: StoreContents, base: Base, left: LeftOut, context: Context): Promise<void> {
  const others = linkedFromElsewhere(contents);
  const blobs = contents.files.filter(
    ({ path }) => /^hub\/models--[^/]+\/(?:blobs|snapshots)\//.test(path) && !others.has(path),
  );
  const keys = new Map<Digest, HeldBlob>();
  await forEachBySize(blobs, context.slots, async ({ path, size, checksum }) => {
    // Small files are not named by their sha256.
    const digest: Digest =
      checksum?.algorithm === 'sha256'
        ? `sha256:${checksum.hex}`
        : await sha256Of(fileContent([{ path: join(contents.store, path), offset: 0, size }]).open(0, context.signal));
    const key = base.models.get(digest);
    if (key === undefined) return;
    left.paths.set(path, { digest, size });
    keys.set(digest, { digest, size, key });
  });
  left.held.push(...keys.values());
}

/** `import` brings models only: for datasets and spaces, which are unpacked by hand, the zone holds nothing. */
function linkedFromElsewhere({ links }: StoreContents): Set<string> {
  const others = links.filter(({ path }) => !path.startsWith('hub/models--'));
  return new Set(others.map(({ path, link }) => posix.join(posix.dirname(path), link)));
}

/** A blob stays out only when every repository that needs it holds it: a zone's repositories do not share. */
function leaveOutImages(contents: StoreContents, base: Base, left: LeftOut): void {
  const users = new Map<Digest, { size: number; repositories: Set<string> }>();
  for (const { reference, graph } of contents.images)
    for (const blob of descriptorsOf(graph).filter((each) => !isManifest(each))) {
      const { repositories } = users.get(blob.digest) ?? { repositories: new Set<string>() };
      users.set(blob.digest, { size: blob.size, repositories: repositories.add(splitName(reference).repository) });
    }
  for (const [digest, { size, repositories }] of users) {
    if (![...repositories].every((repository) => base.images.get(repository)?.has(digest))) continue;
    left.paths.set(`oci/blobs/${digest.replace(':', '/')}`, { digest, size });
    for (const repository of repositories) left.held.push({ digest, size, repository });
  }
}
