import { type NewReceipt, readReceipt, receiptPrefix, type WrittenReceipt } from '../../bundle/records/receipt.ts';
import { signatureNames } from '../../bundle/proof/seal.ts';
import { sha256 } from '../../core/digest.ts';
import type { Content, ObjectStore } from '../../core/ports.ts';
import { contentOf } from '../../core/stream.ts';
import type { TargetState } from './state.ts';
import { signaturesOf } from '../records/receipt-signature.ts';
import type { SigningKey } from '../records/signing.ts';

/** An import of the models must not make the record forget the images that an earlier one brought, and the other way round. */
export async function carryOver(receipt: NewReceipt, path: string): Promise<void> {
  const before = await readReceipt(path);
  if (!before || before.bundle.inventory !== receipt.bundle.inventory) return;
  if (receipt.targets.models === undefined && before.targets.models !== undefined) {
    receipt.targets.models = before.targets.models;
    receipt.models.push(...before.models);
  }
  if (receipt.targets.images === undefined && before.targets.images !== undefined) {
    receipt.targets.images = before.targets.images;
    receipt.images.push(...before.images.filter(({ chart }) => !chart));
  }
  if (receipt.targets.charts === undefined && before.targets.charts !== undefined) {
    receipt.targets.charts = before.targets.charts;
    receipt.charts = before.charts;
    receipt.images.push(...before.images.filter(({ chart }) => chart));
  }
  if (receipt.targets.files === undefined && before.targets.files !== undefined) {
    receipt.targets.files = before.targets.files;
    receipt.files = before.files;
  }
}

/** Where the receipt of a bundle lies, below the target of the models. */
export function receiptKey(name: string): string {
  return `${receiptPrefix}/${name}.receipt.json`;
}

/**
 * Stores the receipt in the target, unless this very one is there. One of the same name that names objects which
 * `isKept` does not know is kept beside it: nothing else tells that they are ours.
 */
export async function putReceipt(
  target: TargetState,
  name: string,
  receipt: WrittenReceipt,
  isKept: (key: string) => boolean,
  signing: SigningKey | undefined,
  signal: AbortSignal,
): Promise<void> {
  const key = receiptKey(name);
  const { store } = target;
  const { signature, sigstore } = signatureNames(key);
  const before = target.receipts.get(key);
  if (before?.digest === receipt.digest && (before.signed || !signing)) return;
  const others = before?.receipt?.models.some(({ objects }) => objects.find((object) => !isKept(object.key)));
  if (before && others) {
    const former = `${receiptPrefix}/former/${name}.${before.digest.slice('sha256:'.length, 19)}.receipt.json`;
    if (!target.receipts.has(former)) await store.copy(key, former, before.size, signal);
  }
  // The signatures of another text must not stand beside this one.
  if (before?.signed && !signing) for (const file of [signature, sigstore]) await store.remove(file);
  const signatures = await signaturesOf(key, receipt, signing);
  await putWritten(store, key, receipt, signal);
  for (const [file, content] of signatures) {
    const bytes = Buffer.from(content);
    await store.put(file, contentOf(bytes), { digest: sha256(bytes), size: bytes.length }, signal);
  }
}

/** Stores a receipt, or a part of one. */
export async function putWritten(
  store: ObjectStore,
  key: string,
  receipt: WrittenReceipt,
  signal: AbortSignal,
): Promise<void> {
  await store.put(key, contentOfReceipt(receipt), receipt, signal);
}

function contentOfReceipt({ size, chunks }: WrittenReceipt): Content {
  return {
    size,
    async *open(offset) {
      await Promise.resolve();
      let skip = offset;
      for (const chunk of chunks()) {
        if (skip < chunk.length) yield chunk.subarray(skip);
        skip = Math.max(skip - chunk.length, 0);
      }
    },
  };
}
