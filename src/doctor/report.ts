import { MirrorError } from '../core/errors.ts';
import { failedItem, makeReport, type Report, type ReportItem } from '../core/report.ts';
import { plural } from '../core/text.ts';
import { faults } from './faults.ts';
import { causes, type Finding, layers, type Verdict } from './finding.ts';

/** All findings for people and for programs; it is ok when there is no fault. */
export function doctorReport(unsorted: readonly Finding[]): Report {
  const findings = [...unsorted].sort((a, b) => layers.indexOf(a.layer) - layers.indexOf(b.layer));
  const found = causes(findings);
  const count = (verdict: Verdict): number => findings.filter((each) => each.verdict === verdict).length;
  const totals = { ok: count('ok'), warnings: count('warning'), faults: count('fault'), notSeen: count('not seen') };
  const [first] = found;
  const report = makeReport('doctor', findings.map(itemOf), totals, [
    ...findings
      .filter(({ verdict }) => verdict === 'ok')
      .map(({ layer, name, evidence }) => line('ok', `${layer}: ${name}: ${evidence}`)),
    ...findings.filter(({ verdict }) => verdict === 'not seen').flatMap(unseenLines),
    ...found.flatMap(causeLines),
    verdictOf(found, totals),
  ]);
  report.summaryNamesFailures = true;
  if (first) report.facts = { cause: first.fault };
  // Whoever reads the exit code learns of the cause, and not of what follows from it.
  if (!report.ok && first) report.exit = new MirrorError(faults[first.fault].code, '').exit;
  return report;
}

/** Why something was not seen, and each step that shows it on a line of its own. */
function unseenLines({ layer, name, evidence, fix = '', words = [] }: Finding): string[] {
  const [first = '', ...rest] = fix.split('\n');
  const what = `${layer}: ${layer === name ? '' : `${name}: `}${evidence}`;
  return [
    line('not seen', first === '' ? what : `${what}; ${first}`),
    ...rest.map((step) => line('', `     ${step}`)),
    ...words.map((word) => line('', `     (${word})`)),
  ];
}

/** How one cause is told: what it is, what was seen, and what to do. */
function causeLines(cause: ReturnType<typeof causes>[number]): string[] {
  const { layer, name, verdict, fault, evidence, fix = '', words = [] } = cause;
  return [
    line(verdict === 'fault' ? 'FAULT' : 'warning', `${faults[fault].title} [${fault}]`),
    line('', `${layer}: ${name}: ${evidence}`),
    ...fix.split('\n').map((step, index) => line('', `${index === 0 ? 'fix: ' : '     '}${step}`)),
    ...words.map((word) => line('', `     (${word})`)),
  ];
}

function line(label: string, text: string): string {
  return `${label.padEnd(9)} ${text}`;
}

function verdictOf(
  [first]: ReturnType<typeof causes>,
  totals: { warnings: number; faults: number; notSeen: number },
): string {
  const warnings = totals.warnings === 0 ? '' : `, ${plural(totals.warnings, 'warning')}`;
  if (first?.verdict === 'fault')
    return `FAULTS: ${plural(totals.faults, 'fault')}${warnings}; most probable cause: ${faults[first.fault].title}`;
  return `GOOD: no fault in what was seen${warnings}`;
}

function itemOf({ layer, name, verdict, fault, evidence, fix, words }: Finding): ReportItem {
  const detail = { verdict, evidence, fault, fix, words };
  if (verdict !== 'fault' || fault === undefined)
    return { kind: layer, name, state: verdict === 'not seen' ? 'skipped' : 'done', detail };
  const { code, title } = faults[fault];
  const error = new MirrorError(code, `${title}: ${evidence}`, { hint: fix });
  return { ...failedItem(layer, name, error), detail };
}
