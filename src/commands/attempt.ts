import { toMirrorError } from '../core/errors.ts';
import { failedItem, type ReportItem } from '../core/report.ts';

/** Errors after which going on with the next item makes no sense. */
const fatal = new Set(['E_ABORTED', 'E_NO_SPACE', 'E_INTERNAL', 'E_USAGE', 'E_MANIFEST', 'E_PATH']);

/** Does one item's work; its failure becomes an item of the report and the others go on, unless it would hit them all. */
export async function attempt(
  items: ReportItem[],
  kind: string,
  name: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const known = toMirrorError(error);
    if (fatal.has(known.code)) throw known;
    items.push(failedItem(kind, name, known));
  }
}
