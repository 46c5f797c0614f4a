import { resolve } from 'node:path';
import type { MirrorError } from '../core/errors.ts';
import { failedItem, makeReport, type Report } from '../core/report.ts';
import { writeFileAtomic } from '../fs/atomic.ts';
import type { CommandRow, Subject } from './command-row.ts';
import type { Witness } from './evidence.ts';

/** Files that a report is written to as well. */
export interface Outputs {
  junit?: string;
  html?: string;
}

/**
 * The same report in the forms that were asked for; whoever reads one of them must not find another verdict.
 * @param witness asked only for the form that names one: who the user is may be the answer of a directory service
 */
export async function writeOutputs(report: Report, { junit, html }: Outputs, witness: () => Witness): Promise<void> {
  if (junit !== undefined) await writeFileAtomic(resolve(junit), (await import('./junit.ts')).renderJunit(report));
  if (html === undefined) return;
  const { renderEvidence } = await import('./evidence.ts');
  await writeFileAtomic(resolve(html), renderEvidence(report, witness()));
}

/** A command that could not run, or was stopped, as a report of its one failure. */
export function failedReport(
  { command, subject, verdict }: { command: string; subject: Subject | undefined; verdict: CommandRow['verdict'] },
  error: MirrorError,
): Report {
  const { kind, name } = subject ?? { kind: 'command', name: command };
  const report = makeReport(command, [failedItem(kind, name, error)], {}, [error.message]);
  return verdict ? { ...report, verdict: verdict(error), facts: { checked: name } } : report;
}
