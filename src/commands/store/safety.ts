import { join } from 'node:path';
import { MirrorError } from '../../core/errors.ts';
import { failedItem, type ReportItem } from '../../core/report.ts';
import { plural } from '../../core/text.ts';
import { validate } from '../../core/validate.ts';
import { writeFileAtomic } from '../../fs/atomic.ts';
import type { HubClient } from '../../hub/access/client.ts';
import { type DenyRule, judgePlan, judgeReport, type Violation } from '../../hub/safety/policy.ts';
import {
  inspectSnapshot,
  refuseStandIns,
  safetyFile,
  type SafetyReport,
  safetySchema,
  storedFiles,
  storedNotices,
} from '../../hub/safety/safety.ts';
import type { SnapshotPlan } from '../../hub/snapshot/snapshot-plan.ts';
import { attempt } from '../attempt.ts';
import type { Context } from '../context.ts';

/** What of a safety report goes into the report of a command. */
export interface SafetySummary {
  verdict: SafetyReport['verdict'];
  /** Path of the whole report in the store. */
  report: string;
  licence: SafetyReport['licence']['state'];
  findings: number;
  pickles: number;
  codeFiles: number;
  /** The first of those that somebody should look at. */
  worst: { path: string; severity: string; message: string }[];
}

const maxWorst = 20;

/**
 * Holds plans against what is denied, before anything is fetched. What is refused, or cannot be looked into, becomes a
 * failed item.
 * @returns the plans that may be fetched: none when anything was refused
 */
export async function judgePlans(
  hub: HubClient,
  plans: readonly SnapshotPlan[],
  deny: readonly DenyRule[],
  items: ReportItem[],
  context: Context,
): Promise<readonly SnapshotPlan[]> {
  if (deny.length === 0) return plans;
  const judged: SnapshotPlan[] = [];
  const refused: ReportItem[] = [];
  for (const plan of plans) {
    const name = `${plan.repo}@${plan.commit}`;
    context.report({ type: 'stage', text: `looking into ${name}` });
    await attempt(items, plan.type, name, async () => {
      const open = hub.content.bind(hub, plan, plan.commit);
      const violations = await judgePlan(plan, deny, open, context.slots, context.signal);
      refused.push(...violations.map((violation) => failedItem('policy', name, refusal(plan.repo, violation))));
      judged.push(plan);
    });
  }
  items.push(...refused);
  return refused.length === 0 ? judged : [];
}

/**
 * Looks into a snapshot that has arrived and writes its safety report into the store.
 * @throws E_CORRUPT for a stand-in where a file should be, E_POLICY for what is denied
 */
export async function checkSafety(
  plan: SnapshotPlan,
  store: string,
  deny: readonly DenyRule[],
  context: Context,
): Promise<SafetySummary> {
  const found = await inspectSnapshot(plan, storedFiles(store, plan), storedNotices(store, plan), context.signal);
  const path = safetyFile(plan);
  const report = validate(safetySchema, found, path, 'E_INTERNAL');
  await writeFileAtomic(join(store, path), `${JSON.stringify(report, undefined, 1)}\n`);
  refuseStandIns(report);
  const [violation] = judgeReport(report, deny);
  if (violation) throw refusal(plan.repo, violation);
  return summaryOf(report, path);
}

/** For people: one line about a repo, and one for each finding that somebody should look at. */
export function safetyLines(items: readonly ReportItem[]): string[] {
  return items.flatMap(({ detail }) => {
    const found = detail?.['safety'] as SafetySummary | undefined;
    if (!found) return [];
    const rest = found.findings - found.worst.length;
    return [
      `  safety: ${found.verdict}; licence ${found.licence}; ${plural(found.pickles, 'file')} with pickles, ${plural(found.codeFiles, 'file')} of code; see ${found.report}`,
      ...found.worst.map(({ path, severity, message }) => `  ${severity}: ${path} ${message}`),
      ...(rest > 0 ? [`  and ${plural(rest, 'finding')} more`] : []),
    ];
  });
}

function summaryOf(report: SafetyReport, path: string): SafetySummary {
  const worth = report.files.flatMap((file) =>
    file.findings
      .filter(({ severity }) => severity !== 'note')
      .map(({ severity, message }) => ({ path: file.path, severity, message })),
  );
  const ranks = ['broken', 'danger', 'warning'];
  worth.sort((a, b) => ranks.indexOf(a.severity) - ranks.indexOf(b.severity));
  return {
    verdict: report.verdict,
    report: path,
    licence: report.licence.state,
    findings: worth.length,
    pickles: report.files.filter(({ pickle }) => pickle).length,
    codeFiles: report.remoteCode.files.length,
    worst: worth.slice(0, maxWorst),
  };
}

function refusal(repo: string, { rule, path, message }: Violation): MirrorError {
  const subject = path === undefined ? `\`${repo}\`` : `\`${path}\` of \`${repo}\``;
  return new MirrorError('E_POLICY', `${subject} ${message}, which \`--deny ${rule}\` forbids`, {
    hint: `leave the repo out, or take \`${rule}\` out of \`--deny\` when that has been decided`,
    at: { side: 'source', item: path === undefined ? repo : `${repo}/${path}` },
  });
}
