import { readFile, stat } from 'node:fs/promises';
import { bundleFiles, type Inventory, inventorySchemaId } from '../../bundle/records/inventory.ts';
import { parseInventory } from '../../bundle/records/inventory-check.ts';
import { readInventory, type SealedBundle } from '../../bundle/reader.ts';
import { parseReceipt, type Receipt, receiptSchemaId } from '../../bundle/records/receipt.ts';
import { type Digest, sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { parseJson } from '../../core/validate.ts';
import { loadManifest } from '../../manifest/load.ts';
import { type Lock, lockSchemaId } from '../../manifest/schema.ts';
import type { Context } from '../context.ts';
import { checkReceipt } from './receipt-signature.ts';
import type { TrustOptions } from './sealed.ts';

/** What says what is somewhere, or is to be; with the digest of the document itself. */
export type MirrorRecord = { digest: Digest } & (
  | { kind: 'inventory'; inventory: Inventory }
  | { kind: 'receipt'; receipt: Receipt }
  | { kind: 'lock'; lock: Lock }
);

/**
 * Reads an inventory, a receipt or a lock, or the inventory of a bundle.
 * @param openBundle for a directory
 * @param trust whose signature a receipt must have
 * @throws E_NOT_FOUND, E_CORRUPT, E_SIGNATURE, E_USAGE for a file that is none of these, and what `openBundle` throws
 */
export async function readRecord(
  path: string,
  context: Context,
  openBundle: (directory: string) => Promise<SealedBundle>,
  trust: TrustOptions = {},
): Promise<MirrorRecord> {
  const found = await stat(context.path(path)).catch(() => undefined);
  if (!found)
    throw new MirrorError('E_NOT_FOUND', `there is no \`${path}\``, {
      hint: 'give a bundle, an inventory, a receipt or a lock',
    });
  if (found.isDirectory()) {
    const bundle = await openBundle(path);
    const inventory = await readInventory(bundle);
    return { kind: 'inventory', inventory, digest: `sha256:${bundle.sums.get(bundleFiles.inventory) ?? ''}` };
  }
  const bytes = await readFile(context.path(path));
  const record = await readDocument(bytes, path);
  if (record.kind === 'receipt') await checkReceipt(path, bytes, trust, context);
  return record;
}

async function readDocument(bytes: Buffer, path: string): Promise<MirrorRecord> {
  const digest = sha256(bytes);
  const isJson = bytes.toString('latin1', 0, 100).trimStart().startsWith('{');
  const { schema } = (isJson ? parseJson(bytes, path) : {}) as { schema?: unknown };
  if (schema === inventorySchemaId) return { kind: 'inventory', inventory: parseInventory([bytes]), digest };
  if (schema === receiptSchemaId) return { kind: 'receipt', receipt: parseReceipt(bytes, path), digest };
  const loaded = schema === lockSchemaId ? await loadManifest(bytes.toString('utf8'), path) : undefined;
  if (loaded?.kind === 'lock') return { kind: 'lock', lock: loaded.lock, digest };
  throw new MirrorError('E_USAGE', `\`${path}\` is neither a bundle nor an inventory, a receipt or a lock`, {
    hint: 'a mirror manifest becomes a lock with `sie-mirror plan`',
  });
}
