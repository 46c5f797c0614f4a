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

/** What has come of one item. */
interface Brought extends Pick<ReportItem, 'kind' | 'name' | 'digest' | 'detail'> {
  target: string;
  bytes: number;
  /** Nothing moved of what was there already, so it need not be said. */
  isNew?: boolean;
}

/** Says what has come of one item, at once and in the report. */
export function noteBrought(
  { items, context }: Pick<ImportRun, 'items' | 'context'>,
  { target, bytes, isNew = bytes > 0, detail, ...item }: Brought,
): void {
  const state = isNew ? 'done' : 'present';
  context.report({ type: 'item', item: item.name, state, bytes });
  items.push({ ...item, state, bytes, detail: { target, ...detail } });
}
