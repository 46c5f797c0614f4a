import type { Finding } from '../../bundle/reader.ts';
import type { ErrorCode, MirrorError } from '../../core/errors.ts';
import { failedItem, makeReport, type Report, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';

/** Something of a place that is not as its record says. */
export interface Flaw {
  kind: 'file' | 'object' | 'blob';
  /** Where it is, or should be. */
  name: string;
  /** What people call it, within what it belongs to. */
  part: string;
  problem: Finding['problem'];
  error: MirrorError;
}

/** A model, an image or a single file, and what is wrong with it. */
export interface Checked {
  item: ReportItem;
  flaws: readonly Flaw[];
}

/** What was found in a store, a bucket or a registry. */
export interface PlaceVerdict {
  /** The place, as it was named. */
  checked: string;
  /** Lock or receipt that it was held against. */
  against: string;
  facts: Record<string, string>;
  things: readonly Checked[];
  /** What belongs to none of them. */
  loose?: readonly Flaw[];
  /** Why it is not good without more words: `BY ITS OWN RECEIPT`. */
  reservations: readonly string[];
  /** Lines on them. */
  notes: readonly string[];
  /** That were read. */
  bytes: number;
}

const shownHints = 8;

/** The same report as of a bundle: every finding by name, what it takes away, what to do next, and one last line. */
export function placeReport(verdict: PlaceVerdict): Report {
  const flaws = uniqueFlaws([...verdict.things.flatMap((thing) => thing.flaws), ...(verdict.loose ?? [])]);
  const bad = verdict.things.filter((thing) => thing.flaws.length > 0);
  const word = wordOf(verdict, flaws);
  const end = `${word}: ${endOf(verdict, flaws)}`;
  const hints = [...new Set(flaws.flatMap(({ error }) => (error.hint === undefined ? [] : [error.hint])))];
  const summary = [
    ...flaws.map(({ problem, error }) => `${problem.toUpperCase()}  ${error.message}`),
    ...bad.map((thing) => `cannot be used: ${thing.item.name} (${firstFew(partsOf(thing))})`),
    ...verdict.notes,
    ...hints.slice(0, shownHints).map((hint) => `next: ${hint}`),
    ...(hints.length > shownHints ? [`next: ${hints.length - shownHints} more, with \`--json\``] : []),
    end,
  ];
  const items = [...flaws.map(flawItem), ...verdict.things.map(thingItem)];
  const report = makeReport('verify', items, { findings: flaws.length, bytes: verdict.bytes }, summary);
  const facts = { verdict: end, checked: verdict.checked, against: verdict.against, ...verdict.facts };
  return { ...report, verdict: word, facts, summaryNamesFailures: true };
}

/** One blob may be missed by many. */
function uniqueFlaws(flaws: readonly Flaw[]): Flaw[] {
  return [...new Map(flaws.map((flaw) => [`${flaw.name} ${flaw.error.message}`, flaw])).values()];
}

function wordOf({ reservations }: PlaceVerdict, flaws: readonly Flaw[]): string {
  if (flaws.some(({ problem }) => problem !== 'unreadable')) return 'BAD';
  if (flaws.length > 0) return 'NOT PROVEN';
  return ['GOOD', ...reservations].join(', ');
}

function endOf({ things, bytes, against }: PlaceVerdict, flaws: readonly Flaw[]): string {
  if (flaws.length > 0) return `${plural(flaws.length, 'problem')}; what is named here is not as in ${against}`;
  const looked = things.filter(({ item }) => item.state !== 'skipped');
  return `${plural(looked.length, 'item')}, ${formatBytes(bytes)}, every byte as in ${against}`;
}

function flawItem({ kind, name, problem, error }: Flaw): ReportItem {
  return { ...failedItem(kind, name, error), detail: { problem } };
}

function thingItem({ item, flaws }: Checked): ReportItem {
  const [worst] = [...flaws].sort((a, b) => Number(b.error.exit === 4) - Number(a.error.exit === 4));
  if (!worst) return item;
  const damaged = partsOf({ item, flaws });
  const code: ErrorCode = worst.error.exit === 4 ? 'E_CORRUPT' : worst.error.code;
  const message = `\`${item.name}\` is ${code === 'E_CORRUPT' ? 'damaged' : 'not proven'}: ${firstFew(damaged)}`;
  return {
    ...item,
    state: 'failed',
    detail: { ...item.detail, damaged },
    error: { code, message, at: { item: item.name } },
  };
}

function partsOf({ flaws }: Checked): string[] {
  return flaws.map(({ part }) => part);
}

/** So many names as a line holds. */
export function firstFew(parts: readonly string[]): string {
  const shown = parts.slice(0, 3).join(', ');
  return parts.length > 3 ? `${shown} and ${parts.length - 3} more` : shown;
}

/** What an error says of the bytes; `unreadable` when it says nothing of them. */
export function problemOf({ code, exit }: MirrorError): Finding['problem'] {
  if (code === 'E_MISSING') return 'missing';
  if (code === 'E_SIZE_MISMATCH') return 'size';
  return exit === 4 ? 'corrupt' : 'unreadable';
}
