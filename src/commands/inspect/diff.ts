import { makeReport, type Report, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import type { Context } from '../context.ts';
import { type HeldFile, type HeldImage, type HeldRepo, type Holdings, readHoldings } from '../records/holdings.ts';
import type { TrustOptions } from '../records/sealed.ts';

export interface DiffOptions extends TrustOptions {
  before: string;
  after: string;
}

type Change = 'came' | 'went' | 'changed';

/** What differs in one thing: digests or commits before and after, and bytes that nothing before, or after, held. */
interface Difference extends Record<string, unknown> {
  change: Change;
  from: string | undefined;
  to: string | undefined;
  gone: number;
  files?: Files;
}

/**
 * What came, went and changed between two bundles, inventories, receipts or locks.
 * @throws E_NOT_FOUND, E_CORRUPT, E_SIGNATURE, E_USAGE for a file that is none of these
 */
export async function diff(options: DiffOptions, context: Context): Promise<Report> {
  const before = await readHoldings(options.before, options, context);
  const after = await readHoldings(options.after, options, context);
  const items = [...diffRepos(before, after), ...diffImages(before, after), ...diffFiles(before, after)];
  const count = (change: Change): number => items.filter(({ detail }) => detail.change === change).length;
  const totals = {
    came: count('came'),
    went: count('went'),
    changed: count('changed'),
    bytes: items.reduce((sum, { bytes }) => sum + bytes, 0),
    gone: items.reduce((sum, { detail }) => sum + detail.gone, 0),
  };
  const end =
    items.length === 0
      ? `\`${before.name}\` and \`${after.name}\` hold the same`
      : `from \`${before.name}\` to \`${after.name}\`: ${totals.came} came, ${totals.went} went, ${totals.changed} changed; ${formatBytes(totals.bytes)} new, ${formatBytes(totals.gone)} gone`;
  return makeReport('inspect', items, totals, [...items.map(describe), end]);
}

type DiffItem = ReportItem & { bytes: number; detail: Difference };

function describe({ kind, name, detail, bytes }: DiffItem): string {
  const { change, from, to, files, gone } = detail;
  const counted = files
    ? `  ${plural(files.came.length, 'file')} came, ${files.went.length} went, ${files.changed.length} changed,`
    : '';
  const ends = { came: to, went: from, changed: `${from} -> ${to}` }[change];
  return `${change.padEnd(7)}  ${kind.padEnd(7)}  ${name}  ${ends ?? ''}${counted}  ${formatBytes(bytes)} new, ${formatBytes(gone)} gone`;
}

interface Changed<T> {
  name: string;
  change: Change;
  old: T | undefined;
  fresh: T | undefined;
}

function changes<T>(
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
  same: (a: T, b: T) => boolean,
): Changed<T>[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.flatMap((name): Changed<T>[] => {
    const [old, fresh] = [before.get(name), after.get(name)];
    if (old !== undefined && fresh !== undefined)
      return same(old, fresh) ? [] : [{ name, change: 'changed', old, fresh }];
    return [{ name, change: old === undefined ? 'came' : 'went', old, fresh }];
  });
}

function diffImages(before: Holdings, after: Holdings): DiffItem[] {
  const [known, kept] = [blobsOf(before), blobsOf(after)];
  return changes(before.images, after.images, (a, b) => a.digest === b.digest).map(({ name, change, old, fresh }) => ({
    kind: 'image',
    name,
    state: 'done',
    bytes: lackingBytes(fresh, known),
    detail: { change, from: old?.digest, to: fresh?.digest, gone: lackingBytes(old, kept) },
  }));
}

function blobsOf({ images }: Holdings): Set<string> {
  return new Set([...images.values()].flatMap(({ blobs }) => [...(blobs?.keys() ?? [])]));
}

/** All of an image of which no blobs are known; nothing where no sizes are. */
function lackingBytes(image: HeldImage | undefined, others: ReadonlySet<string>): number {
  if (!image?.blobs) return image?.bytes ?? 0;
  return [...image.blobs].reduce((sum, [digest, size]) => sum + (others.has(digest) ? 0 : size), 0);
}

interface Files {
  came: string[];
  went: string[];
  changed: string[];
}

function diffRepos(before: Holdings, after: Holdings): DiffItem[] {
  const [known, kept] = [idsOf(before), idsOf(after)];
  return pairsOf(before.repos, after.repos).flatMap(({ old, fresh }): DiffItem[] => {
    const none = new Map<string, HeldFile>();
    const parts = changes(old?.files ?? none, fresh?.files ?? none, sameFile);
    if (old && fresh && old.commit === fresh.commit && parts.length === 0) return [];
    const { kind, repo } = (fresh ?? old) as HeldRepo;
    const of = (change: Change): string[] => parts.filter((part) => part.change === change).map(({ name }) => name);
    return [
      {
        kind,
        name: repo,
        state: 'done',
        bytes: bytesOf(
          parts.map((part) => part.fresh),
          known,
        ),
        detail: {
          change: old && fresh ? 'changed' : old ? 'went' : 'came',
          from: old?.commit,
          to: fresh?.commit,
          files: { came: of('came'), went: of('went'), changed: of('changed') },
          gone: bytesOf(
            parts.map((part) => part.old),
            kept,
          ),
        },
      },
    ];
  });
}

interface Pair {
  old: HeldRepo | undefined;
  fresh: HeldRepo | undefined;
}

/** Commits that both hold stand beside each other; where each side has one more commit of a repo, one became the other. */
function pairsOf(before: readonly HeldRepo[], after: readonly HeldRepo[]): Pair[] {
  const keyOf = ({ kind, repo }: HeldRepo): string => `${kind} ${repo}`;
  const keys = [...new Set([...before, ...after].map(keyOf))].sort();
  return keys.flatMap((key): Pair[] => {
    const inside = (repos: readonly HeldRepo[]): Map<string, HeldRepo> =>
      new Map(repos.filter((each) => keyOf(each) === key).map((each) => [each.commit, each]));
    const [olds, freshes] = [inside(before), inside(after)];
    const both = [...olds].flatMap(([commit, old]) =>
      freshes.has(commit) ? [{ old, fresh: freshes.get(commit) }] : [],
    );
    const went = [...olds].flatMap(([commit, old]) => (freshes.has(commit) ? [] : [{ old, fresh: undefined }]));
    const came = [...freshes].flatMap(([commit, fresh]) => (olds.has(commit) ? [] : [{ old: undefined, fresh }]));
    const isOne = went.length === 1 && came.length === 1;
    return [...both, ...(isOne ? [{ old: went[0]?.old, fresh: came[0]?.fresh }] : [...went, ...came])];
  });
}

function diffFiles(before: Holdings, after: Holdings): DiffItem[] {
  const [known, kept] = [idsOf(before), idsOf(after)];
  return changes(before.files, after.files, sameFile).map(({ name, change, old, fresh }) => ({
    kind: 'file',
    name,
    state: 'done',
    bytes: bytesOf([fresh], known),
    detail: { change, from: old?.id, to: fresh?.id, gone: bytesOf([old], kept) },
  }));
}

function idsOf({ repos, files }: Holdings): Set<string | undefined> {
  const inside = [...repos.flatMap((repo) => [...repo.files.values()]), ...files.values()];
  return new Set(inside.map(({ id }) => id));
}

/** Of files that the others do not hold, each content once. */
function bytesOf(files: readonly (HeldFile | undefined)[], others: ReadonlySet<string | undefined>): number {
  const fresh = new Map(files.map((file, index) => [file?.id ?? index, file]));
  return [...fresh.values()].reduce((sum, file) => sum + (file && !others.has(file.id) ? (file.size ?? 0) : 0), 0);
}

/** A lock knows small files by git's hash, a bundle by sha256: then the size has to do. */
function sameFile(a: HeldFile, b: HeldFile): boolean {
  const algorithm = ({ id = '' }: HeldFile): string => id.slice(0, id.indexOf(':'));
  const sameSize = a.size === b.size || a.size === undefined || b.size === undefined;
  return sameSize && (algorithm(a) !== algorithm(b) || a.id === b.id);
}
