import { MirrorError } from '../../core/errors.ts';
import { forEachLimited } from '../../core/limit.ts';
import { printable } from '../../core/text.ts';
import { rangesOf } from './byte-ranges.ts';
import { type FileSafety, inspectFile } from './file-safety.ts';
import { extensionOf } from './formats.ts';
import { type LicenceState, licenceState } from './licence.ts';
import type { RemoteCode } from './remote-code.ts';
import { type FileOpener, inspectCode, type SafetyReport } from './safety.ts';
import type { SnapshotPlan } from '../snapshot/snapshot-plan.ts';

const rules = {
  pickle: 'a pickle, or a file that holds one',
  'unsafe-pickle': 'a pickle that imports more than tensors need, or anything else that can run or hide code',
  'remote-code': 'Python code, or a configuration that leads to some',
  'no-licence': 'nobody says what is allowed',
  gated: 'access has to be asked for',
  malformed: 'a file that is not what its name says',
} as const;

/** What may be denied. */
export type DenyRule = keyof typeof rules;

/** One file, or the repo itself, that a rule does not let through. */
export interface Violation {
  rule: DenyRule;
  /** Undefined for what holds for the whole repo. */
  path?: string;
  message: string;
}

/** `pickle,no-licence` as rules. @throws E_USAGE for a word that is none */
export function parseDeny(text: string): DenyRule[] {
  const isRule = (word: string): word is DenyRule => Object.hasOwn(rules, word);
  return text.split(',').map((part) => {
    const word = part.trim().toLowerCase().replace('license', 'licence');
    if (isRule(word)) return word;
    throw new MirrorError('E_USAGE', `\`--deny ${printable(part)}\`: there is no such rule`, {
      hint: `the rules are ${Object.keys(rules).join(', ')}`,
    });
  });
}

/** What the hub's listing alone tells, and then what a few ranges of the files tell: no file is fetched for it. */
export async function judgePlan(
  plan: SnapshotPlan,
  deny: readonly DenyRule[],
  open: FileOpener,
  slots: number,
  signal?: AbortSignal,
): Promise<Violation[]> {
  const paths = [...plan.files, ...(plan.notices ?? [])].map(({ path }) => path);
  const listed = judgeListing(plan.gated, licenceState(plan.license, paths), deny);
  if (listed.length > 0) return listed;
  const files: FileSafety[] = [];
  const wanted = deny.some((rule) => fileRules.has(rule)) ? plan.files.filter(({ path }) => !isPlain(path)) : [];
  await forEachLimited(wanted, slots, async (file) => {
    files.push(await inspectFile(file.path, rangesOf(open(file), signal), 'few-ranges'));
  });
  const code = deny.includes('remote-code') ? await inspectCode(plan.files, open, signal) : undefined;
  return judge(deny, files, code);
}

/** The same rules over a whole report: names that promise text are no longer believed. */
export function judgeReport(report: SafetyReport, deny: readonly DenyRule[]): Violation[] {
  return [...judgeListing(report.gated, report.licence.state, deny), ...judge(deny, report.files, report.remoteCode)];
}

/** Rules that only the bytes of files can tell. */
const fileRules = new Set<DenyRule>(['pickle', 'unsafe-pickle', 'malformed']);

function judgeListing(gated: boolean, licence: LicenceState, deny: readonly DenyRule[]): Violation[] {
  const found: Violation[] = [];
  if (deny.includes('gated') && gated) found.push({ rule: 'gated', message: 'is gated' });
  if (deny.includes('no-licence') && licence === 'none')
    found.push({ rule: 'no-licence', message: 'declares no licence and has no file that holds one' });
  return found;
}

/** What stands behind them is not known, under a name that loaders unpickle. */
const unopenedCodes = new Set<FileSafety['findings'][number]['code']>(['archive-not-read', 'member-not-read']);

function judge(
  deny: readonly DenyRule[],
  files: readonly SafetyReport['files'][number][],
  code: RemoteCode | undefined,
): Violation[] {
  const found: Violation[] = [];
  for (const { path, format, findings, pickle } of files) {
    const unopened = findings.find(({ severity, code }) => severity === 'danger' && unopenedCodes.has(code));
    if (deny.includes('pickle') && (pickle || format === 'torch-zip'))
      found.push({ rule: 'pickle', path, message: `is or holds a pickle (${format})` });
    else if (deny.includes('pickle') && unopened)
      found.push({ rule: 'pickle', path, message: `may hold a pickle: it ${unopened.message}` });
    const unsafe = findings.find(({ severity, code }) => severity === 'danger' || code === 'import');
    if (deny.includes('unsafe-pickle') && unsafe) found.push({ rule: 'unsafe-pickle', path, message: unsafe.message });
    const malformed = findings.find(
      ({ severity, code }) => severity === 'broken' || (code === 'not-what-its-name-says' && severity !== 'note'),
    );
    if (deny.includes('malformed') && malformed) found.push({ rule: 'malformed', path, message: malformed.message });
  }
  if (deny.includes('remote-code') && code) {
    for (const { path, isReferred } of code.files)
      found.push({
        rule: 'remote-code',
        path,
        message: isReferred ? 'is code that loaders are told to run' : 'is code',
      });
    for (const { file, key, value } of code.references)
      found.push({ rule: 'remote-code', path: file, message: `leads to code: \`${key}\` is \`${printable(value)}\`` });
    for (const path of code.unread ?? [])
      found.push({ rule: 'remote-code', path, message: 'is too large to be looked through for what leads to code' });
  }
  return found.sort((a, b) => ((a.path ?? '') < (b.path ?? '') ? -1 : 1));
}

/** Names of text, of which nothing has to be asked before the whole file comes. */
function isPlain(path: string): boolean {
  return plainExtensions.has(extensionOf(path)) || !/[^/]\.[^/]+$/.test(path);
}

const plainExtensions = new Set(
  'cfg csv css gitattributes gitignore html ini ipynb jinja jinja2 js json jsonl md py rst sh toml tsv txt xml yaml yml'.split(
    ' ',
  ),
);
