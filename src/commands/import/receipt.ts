import { readReceipt, type Receipt, receiptPrefix } from '../../bundle/receipt.ts';
import { signatureNames } from '../../bundle/seal.ts';
import { sha256 } from '../../core/digest.ts';
import type { ObjectStore } from '../../core/ports.ts';
import { contentOf } from '../../core/stream.ts';
import type { TargetState } from './state.ts';
import { signText } from '../receipt-signature.ts';
import type { SigningKey } from '../signing.ts';

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
  text: string,
  isKept: (key: string) => boolean,
  signing: SigningKey | undefined,
  signal: AbortSignal,
): Promise<void> {
  const key = receiptKey(name);
  const { signature, sigstore } = signatureNames(key);
  const before = target.receipts.get(key);
  if (before?.text === text && (before.signed || !signing)) return;
  const others = before?.receipt?.models.some(({ objects }) => objects.some((object) => !isKept(object.key)));
  if (before && others) {
    const former = `${receiptPrefix}/former/${name}.${sha256(before.text).slice('sha256:'.length, 19)}.receipt.json`;
    if (!target.receipts.has(former)) await putText(target.store, former, before.text, signal);
  }
  // The signatures of another text must not stand beside this one.
  if (before?.signed && !signing) for (const file of [signature, sigstore]) await target.store.remove(file);
  for (const [file, content] of await signText(key, text, signing)) await putText(target.store, file, content, signal);
}

export async function putText(store: ObjectStore, key: string, text: string, signal: AbortSignal): Promise<void> {
  const bytes = Buffer.from(text);
  await store.put(key, contentOf(bytes), { digest: sha256(bytes), size: bytes.length }, signal);
}
