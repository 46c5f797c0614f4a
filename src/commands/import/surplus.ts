import type { BundleReader } from '../../bundle/reader.ts';
import type { ReportItem } from '../../core/report.ts';
import { formatBytes } from '../../core/text.ts';
import { attempt } from '../attempt.ts';
import type { Context } from '../context.ts';
import { findFormer } from './former.ts';
import { findLeftovers } from './leftovers.ts';
import type { HubLayout } from './models.ts';
import { receiptKey } from './receipt.ts';
import type { HasKey } from './object-keys.ts';
import type { Surplus, TargetState } from './state.ts';

/** What may be done about it. */
export interface TidyOptions {
  /** Remove what imports before this one have put there and this one does not hold. */
  prune?: boolean | undefined;
  /** Remove or mend what disturbs those who read. */
  repair?: boolean | undefined;
  dryRun?: boolean | undefined;
}

/**
 * What lies in the target and disturbs, and with `--prune` what imports before this one have left there.
 * @param kept keys of what this bundle puts there
 */
export async function findSurplus(
  reader: BundleReader,
  kept: HasKey,
  target: TargetState,
  layout: HubLayout,
  { prune }: TidyOptions,
): Promise<Surplus[]> {
  const leftovers = await findLeftovers(reader, kept, target, layout);
  if (!prune) return leftovers;
  const named = new Set(leftovers.map(({ key }) => key));
  const former = await findFormer(kept, target, receiptKey(reader.inventory.name));
  return [...leftovers, ...former.filter(({ key }) => !named.has(key))];
}

function mayGo({ kind }: Surplus, { prune, repair }: TidyOptions): boolean {
  return (kind === 'former' ? prune : repair) === true;
}

/** Says what there is, always before anything is done about it. */
export function nameSurplus(found: readonly Surplus[], options: TidyOptions, context: Context): void {
  const going = options.dryRun ? 'would remove' : 'removing';
  for (const surplus of found) {
    const { kind, key, size, text, mend } = surplus;
    const what = `\`${key}\` (${formatBytes(size)}): ${text}`;
    if (!mend) context.report({ type: 'warning', text: what });
    else if (mayGo(surplus, options)) context.report({ type: 'note', text: `${going} ${what}` });
    else if (kind === 'leftover') context.report({ type: 'warning', text: `${what}; \`--repair\` removes it` });
  }
}

/** Does what may be done, and makes items of it: `done`, `planned`, or `skipped` for what was named only. */
export async function tidy(
  found: readonly Surplus[],
  options: TidyOptions,
  items: ReportItem[],
  context: Context,
): Promise<void> {
  for (const surplus of found) {
    const { kind, key, size, text, mend } = surplus;
    if (kind === 'former' && !options.prune) continue;
    context.signal.throwIfAborted();
    const item = { kind, name: key, bytes: size, detail: { text } };
    if (!mend || !mayGo(surplus, options)) items.push({ ...item, state: 'skipped' });
    else if (options.dryRun) items.push({ ...item, state: 'planned' });
    else
      await attempt(items, kind, key, async () => {
        await mend();
        items.push({ ...item, state: 'done' });
      });
  }
}

/** Whether an item is one that `tidy` made: nothing was brought by it. */
export function isSurplus({ kind }: ReportItem): boolean {
  return kind === 'former' || kind === 'leftover';
}

const words = new Map<ReportItem['state'], string>([
  ['done', 'removed'],
  ['planned', 'would remove'],
  ['skipped', 'NOT REMOVED'],
]);

/** Lines for people, of the items that `tidy` made; of one that failed the error says all. */
export function describeSurplus(items: readonly ReportItem[]): string[] {
  return items.filter(isSurplus).flatMap(({ kind, name, state, bytes = 0, detail }) => {
    const word = words.get(state);
    const hint = state === 'skipped' && kind === 'leftover' ? ' (`--repair`)' : '';
    return word === undefined ? [] : [`${word}  ${name}  ${formatBytes(bytes)}  ${String(detail?.['text'])}${hint}`];
  });
}
