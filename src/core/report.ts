import { type ErrorCode, type ErrorPlace, exitOfMany, type MirrorError } from './errors.ts';

/** One thing that a command handled. */
export interface ReportItem {
  kind: string;
  name: string;
  /** `skipped` was not looked at, so nothing is said of it; `planned` is what `--dry-run` says. */
  state: 'done' | 'present' | 'failed' | 'skipped' | 'planned';
  bytes?: number;
  digest?: string;
  /** Anything more that is worth keeping, by the command's own page. */
  detail?: Record<string, unknown>;
  error?: { code: ErrorCode; message: string; hint?: string | undefined; at: ErrorPlace };
}

/** The result of a command: what `--json` prints. `schema` is `sie-mirror/report/COMMAND/v1`. */
export interface Report {
  schema: string;
  command: string;
  ok: boolean;
  items: ReportItem[];
  totals: Record<string, number>;
  /** In a few words, where `ok` alone says too little: `GOOD, SIGNATURE NOT CHECKED`. */
  verdict?: string;
  /** What is true of the whole, in the order in which a person would read it: `bundle`, `signature`, ... */
  facts?: Record<string, string>;
  /** Lines for people, the last one being where the eye goes. */
  summary: string[];
  /** The summary says which items failed, as the verdict of `verify` does. */
  summaryNamesFailures?: boolean;
  /** The exit code when `ok` is false. */
  exit?: number;
}

/** An item that came to nothing; `name` is what was asked for, which the error need not know. */
export function failedItem(kind: string, name: string, { code, message, at, hint }: MirrorError): ReportItem {
  return { kind, name, state: 'failed', error: { code, message, at, hint } };
}

/** How many bytes these items are of, or moved, together. */
export function bytesOf(items: readonly ReportItem[]): number {
  return items.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
}

/** Assembles a report; it is ok when no item failed. */
export function makeReport(
  command: string,
  items: ReportItem[],
  totals: Record<string, number>,
  summary: string[],
): Report {
  const errors = items.flatMap((item) => (item.error ? [item.error] : []));
  const report: Report = {
    schema: `sie-mirror/report/${command}/v1`,
    command,
    ok: errors.length === 0,
    items,
    totals,
    summary,
  };
  return report.ok ? report : { ...report, exit: exitOfMany(errors, items.length > errors.length) };
}
