import { inTurn } from '../../bundle/lists/long-list.ts';
import { type NewReceipt, receiptPrefix } from '../../bundle/records/receipt.ts';
import { signatureNames } from '../../bundle/proof/seal.ts';
import type { HasKey } from './object-keys.ts';
import type { Surplus, TargetState } from './state.ts';

/**
 * Objects that receipts in the target name and that this bundle does not hold, refs before what they lead to. What is
 * no longer what the receipt says is somebody else's, and is named only.
 * @param kept what this bundle holds
 */
export async function findFormer(kept: HasKey, target: TargetState, ownReceipt: string): Promise<Surplus[]> {
  const found = new Map<string, Surplus>();
  const receipts: Surplus[] = [];
  for (const [name, { size, receipt }] of target.receipts) {
    if (!receipt) continue;
    for (const surplus of await formerObjects(receipt, kept, target)) found.set(surplus.key, surplus);
    const mend = async (): Promise<void> => {
      for (const file of Object.values(signatureNames(name)).toReversed()) await target.store.remove(file);
    };
    if (name !== ownReceipt)
      receipts.push({ kind: 'former', key: name, size, text: `the receipt of \`${receipt.bundle.name}\``, mend });
  }
  return [...[...found.values()].sort((a, b) => rank(a.key) - rank(b.key)), ...receipts];
}

async function formerObjects({ bundle, models }: NewReceipt, kept: HasKey, target: TargetState): Promise<Surplus[]> {
  const found: Surplus[] = [];
  for (const object of inTurn(models.map(({ objects }) => objects))) {
    const { key, size } = object;
    if (kept.has(key) || key.startsWith(`${receiptPrefix}/`) || !(await target.beside(key)).has(key)) continue;
    if (await target.find(object))
      found.push({
        kind: 'former',
        key,
        size,
        text: `put there by \`${bundle.name}\``,
        mend: () => target.store.remove(key),
      });
    else found.push({ kind: 'former', key, size, text: `put there by \`${bundle.name}\` and changed since; it stays` });
  }
  return found;
}

/** A run that is broken off must leave no ref that leads to half a model. */
function rank(key: string): number {
  if (key.includes('/refs/')) return 0;
  return key.includes('/trees/') ? 1 : 2;
}
