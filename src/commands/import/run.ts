import type { BundleReader } from '../../bundle/reader.ts';
import type { NewReceipt } from '../../bundle/receipt.ts';
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
