import { readFile } from 'node:fs/promises';
import { isReceiptKey, parseReceipt, type Receipt, receiptPrefix } from '../../bundle/records/receipt.ts';
import { MirrorError, toMirrorError } from '../../core/errors.ts';
import type { ObjectStore } from '../../core/ports.ts';
import { readAll } from '../../core/stream.ts';
import type { Context } from '../context.ts';
import { type Flaw, problemOf } from './place-verdict.ts';
import { checkReceipt } from '../records/receipt-signature.ts';
import type { TrustOptions } from '../records/sealed.ts';

/** A receipt and where it was found. */
export interface KnownReceipt {
  /** Path, or key in the store. */
  from: string;
  receipt: Receipt;
}

const receiptLimit = 256 * 1024 * 1024;

/** Receipts that somebody has carried here, signed when keys are given. @throws E_NOT_FOUND, E_CORRUPT, E_SIGNATURE */
export async function carriedReceipts(
  files: readonly string[],
  trust: TrustOptions,
  context: Context,
): Promise<KnownReceipt[]> {
  return Promise.all(
    files.map(async (from) => {
      const bytes = await readFile(context.path(from)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        throw new MirrorError('E_NOT_FOUND', `there is no receipt \`${from}\``, {
          hint: '`import` writes it as NAME.receipt.json where it runs, and into the target',
          at: { item: from },
        });
      });
      await checkReceipt(from, bytes, trust, context);
      return { from, receipt: parseReceipt(bytes, from) };
    }),
  );
}

/** Receipts that lie with the models; one that cannot be read is a flaw. */
export async function storedReceipts(
  store: ObjectStore,
  signal: AbortSignal,
): Promise<{ receipts: KnownReceipt[]; flaws: Flaw[] }> {
  const found: { receipts: KnownReceipt[]; flaws: Flaw[] } = { receipts: [], flaws: [] };
  for await (const { key, size } of store.list(`${receiptPrefix}/`)) {
    if (!isReceiptKey(key)) continue;
    const bytes = await readAll(store.content(key, size).open(0, signal), receiptLimit, key);
    try {
      found.receipts.push({ from: key, receipt: parseReceipt(bytes, key) });
    } catch (error) {
      const known = toMirrorError(error);
      found.flaws.push({ kind: 'object', name: key, part: key, problem: problemOf(known), error: known });
    }
  }
  return found;
}
