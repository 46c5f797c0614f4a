import { type NewReceipt, writtenReceipt } from '../../bundle/records/receipt.ts';
import { bytesOf, makeReport, type Report, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import { attempt } from '../attempt.ts';
import type { Context } from '../context.ts';
import { type ModelImages, putReceiptImage } from './model-images.ts';
import { putReceipt, putWritten } from './receipt.ts';
import { partKey, type Shard } from './shard.ts';
import type { TargetState } from './state.ts';
import { writeReceiptFile } from '../records/receipt-signature.ts';
import type { SigningKey } from '../records/signing.ts';

/** What an import has come to. */
export interface EndedImport {
  state: TargetState | undefined;
  modelImages: ModelImages | undefined;
  items: ReportItem[];
  receipt: NewReceipt;
  receiptPath: string;
  signing: SigningKey | undefined;
}

/**
 * Writes the receipt to its file and to the target of the models, be it a store or a registry.
 * @param isKept whether the target still needs an object that a receipt before this one names
 * @param parts keys of the parts of the receipt that shards have left
 */
export async function endWhole(
  { state, modelImages, items, receipt, receiptPath, signing }: EndedImport,
  isKept: (key: string) => boolean,
  parts: readonly string[],
  context: Context,
): Promise<void> {
  const written = writtenReceipt(receipt);
  // The file first: a store that takes nothing must not cost the record of what it refused.
  await writeReceiptFile(receiptPath, written, signing);
  if (modelImages)
    await attempt(items, 'receipt', modelImages.place, () => putReceiptImage(modelImages, receipt, context));
  if (!state) return;
  await attempt(items, 'receipt', state.store.name, () =>
    putReceipt(state, receipt.bundle.name, written, isKept, signing, context.signal),
  );
  // Where nothing may be deleted they stay, and are known by their name.
  if (receipt.complete) for (const key of parts) await state.store.remove(key).catch(() => {});
}

/** Writes a shard's part of the receipt to its file and to the target of the models. */
export async function endShard(
  shard: Shard,
  { state, items, receipt, receiptPath, signing }: EndedImport,
  context: Context,
): Promise<Report> {
  // What belongs to an image and is not taken will not be either when it is brought again.
  receipt.shard = { ...shard, done: items.every(({ state, kind }) => state !== 'failed' || kind === 'referrers') };
  const written = writtenReceipt(receipt);
  await writeReceiptFile(receiptPath, written, signing);
  const key = partKey(receipt.bundle, shard);
  if (state && state.receipts.get(key)?.digest !== written.digest)
    await attempt(items, 'receipt', state.store.name, () => putWritten(state.store, key, written, context.signal));
  return summariseShard(shard, items, receipt, state ? `${state.store.name}/${key}` : receiptPath);
}

function summariseShard(shard: Shard, items: ReportItem[], receipt: NewReceipt, place: string): Report {
  const bytes = bytesOf(items.filter(({ state }) => state !== 'failed'));
  const objects = receipt.models.reduce((sum, model) => sum + model.objects.length, 0);
  const held = `${plural(objects, 'object')} of models, ${plural(receipt.images.length, 'image')}, ${formatBytes(bytes)} moved`;
  const name = `shard ${shard.index}/${shard.of}`;
  return makeReport('import', items, { objects, images: receipt.images.length, bytes }, [
    receipt.shard?.done
      ? `${name} is done: ${held}; its part of the receipt: ${place}`
      : `${name} is INCOMPLETE: ${held}; mend what is said above and run the same command again, what has arrived is kept`,
    'models become visible when all shards are done: run `sie-mirror import` with the same targets and `--finish`',
  ]);
}
