import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import type { Context } from './context.ts';
import { type HeldFile, type HeldModel, type Holdings, readHoldings } from './holdings.ts';
import type { TrustOptions } from './sealed.ts';

export interface DiffOptions extends TrustOptions {
  before: string;
  after: string;
}

type Change = 'came' | 'went' | 'changed';

/** What came, went and changed between two bundles, inventories, receipts or locks. */
export async function diff(options: DiffOptions, context: Context): Promise<Report> {
  const before = await readHoldings(options.before, options, context);
  const after = await readHoldings(options.after, options, context);
  const items = [...diffModels(before, after), ...diffImages(before, after)];
  const bytes = items.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
  const count = (change: Change): number => items.filter(({ detail }) => detail?.['change'] === change).length;
  const totals = { came: count('came'), went: count('went'), changed: count('changed'), bytes };
  const end =
    items.length === 0
      ? `\`${before.name}\` and \`${after.name}\` hold the same`
      : `from \`${before.name}\` to \`${after.name}\`: ${totals.came} came, ${totals.went} went, ${totals.changed} changed; ${formatBytes(bytes)} of models are new`;
  return makeReport('inspect', items, totals, [...items.map(describe), end]);
}

function describe({ kind, name, detail, bytes = 0 }: ReportItem): string {
  const { change, from, to, files } = detail as { change: Change; from?: string; to?: string; files?: Files };
  const counted = files
    ? `  ${plural(files.came.length, 'file')} came, ${files.went.length} went, ${files.changed.length} changed, ${formatBytes(bytes)} new`
    : '';
  const ends = change === 'changed' ? `  ${from} -> ${to}` : '';
  return `${change.padEnd(7)}  ${kind.padEnd(5)}  ${name}${ends}${counted}`;
}

function changes<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>, same: (a: T, b: T) => boolean) {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.flatMap((name): { name: string; change: Change; old: T | undefined; fresh: T | undefined }[] => {
    const [old, fresh] = [before.get(name), after.get(name)];
    if (old !== undefined && fresh !== undefined)
      return same(old, fresh) ? [] : [{ name, change: 'changed', old, fresh }];
    return [{ name, change: old === undefined ? 'came' : 'went', old, fresh }];
  });
}

function diffImages(before: Holdings, after: Holdings): ReportItem[] {
  return changes(before.images, after.images, (a, b) => a === b).map(({ name, change, old, fresh }) => ({
    kind: 'image',
    name,
    state: 'done',
    detail: { change, from: old, to: fresh },
  }));
}

interface Files {
  came: string[];
  went: string[];
  changed: string[];
}

function diffModels(before: Holdings, after: Holdings): ReportItem[] {
  const known = new Set([...before.models.values()].flatMap(({ files }) => [...files.values()].map(({ id }) => id)));
  const same = (a: HeldModel, b: HeldModel): boolean =>
    a.commit === b.commit && changes(a.files, b.files, sameFile).length === 0;
  return changes(before.models, after.models, same).map(({ name, change, old, fresh }) => {
    const parts = changes(old?.files ?? new Map<string, HeldFile>(), fresh?.files ?? new Map(), sameFile);
    const of = (kind: Change): string[] => parts.filter((part) => part.change === kind).map((part) => part.name);
    const files: Files = { came: of('came'), went: of('went'), changed: of('changed') };
    const fresher = new Map(parts.flatMap((part) => (part.fresh ? [[part.fresh.id, part.fresh.size] as const] : [])));
    const bytes = [...fresher].reduce((sum, [id, size]) => sum + (known.has(id) ? 0 : size), 0);
    return {
      kind: 'model',
      name,
      state: 'done',
      bytes,
      detail: { change, from: old?.commit, to: fresh?.commit, files },
    };
  });
}

/** A lock knows small files by git's hash, a bundle by sha256: then the size has to do. */
function sameFile(a: HeldFile, b: HeldFile): boolean {
  const algorithm = ({ id }: HeldFile): string => id.slice(0, id.indexOf(':'));
  return a.size === b.size && (algorithm(a) !== algorithm(b) || a.id === b.id);
}
