import type { BundleReader } from '../../bundle/reader.ts';
import type { NewReceipt } from '../../bundle/records/receipt.ts';
import type { ReportItem } from '../../core/report.ts';
import type { Context } from '../context.ts';
import type { MediaToCome } from './media.ts';

/** One import: what it is read from, and what has come of it so far. */
export interface ImportRun<Source = BundleReader> {
  readonly reader: Source;
  readonly items: ReportItem[];
  readonly receipt: NewReceipt;
  readonly media: MediaToCome;
  readonly context: Context;
}

/** Says what has come of one item: nothing moved of what was there already. */
export function noteBrought(
  { items, context }: Pick<ImportRun, 'items' | 'context'>,
  { kind, name, target, bytes }: { kind: string; name: string; target: string; bytes: number },
): void {
  const state = bytes === 0 ? 'present' : 'done';
  context.report({ type: 'item', item: name, state, bytes });
  items.push({ kind, name, state, bytes, detail: { target } });
}
