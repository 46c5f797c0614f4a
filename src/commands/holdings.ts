import { readFile, stat } from 'node:fs/promises';
import { type Inventory, inventorySchemaId, parseInventory } from '../bundle/inventory.ts';
import { parseReceipt, type Receipt, receiptSchemaId } from '../bundle/receipt.ts';
import { readInventory } from '../bundle/reader.ts';
import { formatChecksum } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { parseJson } from '../core/validate.ts';
import { loadManifest } from '../manifest/load.ts';
import type { Lock } from '../manifest/schema.ts';
import type { Context } from './context.ts';
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
  const found = await stat(context.path(path)).catch(() => undefined);
  if (!found)
    throw new MirrorError('E_NOT_FOUND', `there is no \`${path}\``, {
      hint: 'give a bundle, an inventory, a receipt or a lock',
    });
  if (found.isDirectory()) return ofInventory(await readInventory(await openBundle(path, trust, context)));
  const bytes = await readFile(context.path(path));
  const { schema } = (parseJson(bytes, path, 'E_USAGE') ?? {}) as { schema?: unknown };
  if (schema === inventorySchemaId) return ofInventory(parseInventory(bytes));
  if (schema === receiptSchemaId) return ofReceipt(parseReceipt(bytes, path));
  const loaded = loadManifest(bytes.toString('utf8'), path);
  if (loaded.kind === 'lock') return ofLock(loaded.lock);
  throw new MirrorError('E_USAGE', `\`${path}\` is a mirror manifest, in which nothing is pinned`, {
    hint: 'make a lock of it with `sie-mirror plan`',
  });
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

function ofReceipt({ bundle, models, images }: Receipt): Holdings {
  return {
    name: bundle.name,
    models: new Map(
      models.map(({ repo, commit, objects }) => [repo, { commit, files: snapshotFiles(commit, objects) }]),
    ),
    images: new Map(images.map(({ reference, digest }) => [reference, digest])),
  };
}

function snapshotFiles(commit: string, objects: Receipt['models'][number]['objects']): Map<string, HeldFile> {
  const below = `/snapshots/${commit}/`;
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
