import { readReceipt, type Receipt, receiptPrefix } from '../bundle/receipt.ts';
import { sha256 } from '../core/digest.ts';
import { contentOf } from '../core/stream.ts';
import type { TargetState } from './import-state.ts';

/** An import of the models must not make the record forget the images that an earlier one brought, and the other way round. */
export async function carryOver(receipt: Receipt, path: string): Promise<void> {
  const before = await readReceipt(path);
  if (!before || before.bundle.inventory !== receipt.bundle.inventory) return;
  if (receipt.targets.models === undefined && before.targets.models !== undefined) {
    receipt.targets.models = before.targets.models;
    receipt.models.push(...before.models);
  }
  if (receipt.targets.images === undefined && before.targets.images !== undefined) {
    receipt.targets.images = before.targets.images;
    receipt.images.push(...before.images);
  }
}

/** Stores the receipt in the target, unless this very one is there. */
export async function putReceipt(
  { store, receipts }: TargetState,
  name: string,
  text: string,
  signal: AbortSignal,
): Promise<void> {
  const key = `${receiptPrefix}/${name}.receipt.json`;
  if (receipts.get(key) === text) return;
  const bytes = Buffer.from(text);
  await store.put(key, contentOf(bytes), { digest: sha256(bytes), size: bytes.length }, signal);
}
