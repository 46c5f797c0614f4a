import type { Inventory } from '../bundle/inventory.ts';
import type { Receipt } from '../bundle/receipt.ts';
import { formatChecksum } from '../core/digest.ts';
import type { Lock } from '../manifest/schema.ts';
import type { Context } from './context.ts';
import { readRecord } from './record.ts';
import { openBundle, type TrustOptions } from './sealed.ts';

/** A file of a model; `id` is `algorithm:hex`. */
export interface HeldFile {
  id: string;
  size: number;
}

export interface HeldModel {
  commit: string;
  files: Map<string, HeldFile>;
}

/** What a bundle, an inventory, a receipt or a lock speaks of, by name, so that any two of them can be compared. */
export interface Holdings {
  name: string;
  models: Map<string, HeldModel>;
  /** Root digests by reference. */
  images: Map<string, string>;
}

/** @throws E_NOT_FOUND, E_CORRUPT, E_SIGNATURE, E_USAGE for a file that is none of these */
export async function readHoldings(path: string, trust: TrustOptions, context: Context): Promise<Holdings> {
  const record = await readRecord(path, context, async (directory) => openBundle(directory, trust, context), trust);
  if (record.kind === 'inventory') return ofInventory(record.inventory);
  return record.kind === 'receipt' ? ofReceipt(record.receipt) : ofLock(record.lock);
}

function ofInventory({ name, items }: Inventory): Holdings {
  const holdings: Holdings = { name, models: new Map(), images: new Map() };
  for (const item of items) {
    if (item.kind === 'image') holdings.images.set(item.reference, item.root.digest);
    else
      holdings.models.set(item.repo, {
        commit: item.commit,
        files: new Map(item.files.map(({ path, digest, size }) => [path, { id: digest, size }])),
      });
  }
  return holdings;
}

function ofReceipt({ bundle, models, images, charts = [] }: Receipt): Holdings {
  return {
    name: bundle.name,
    models: new Map(
      models.map(({ repo, commit, objects }) => [repo, { commit, files: filesOf(repo, commit, objects) }]),
    ),
    images: new Map([...images, ...charts].map(({ reference, digest }) => [reference, digest])),
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

function ofLock({ name, models, images }: Lock): Holdings {
  return {
    name,
    models: new Map(
      models.map(({ repo, commit, files }) => [
        repo,
        {
          commit,
          files: new Map(files.map(({ path, size, checksum }) => [path, { id: formatChecksum(checksum), size }])),
        },
      ]),
    ),
    images: new Map(images.map(({ reference, root }) => [reference, root.digest])),
  };
}
