import type { MirrorError } from '../core/errors.ts';
import type { Report, ReportItem } from '../core/report.ts';
import { printable } from '../core/text.ts';

/** The result for a person. */
export function renderReport(report: Report): string {
  return report.summary.map((line) => `${printable(line)}\n`).join('');
}

/** The result for a program; `summary` is prose and stays out. */
export function renderJson(report: Report): string {
  const { summary: _, summaryNamesFailures: __, exit: ___, ...document } = report;
  return jsonLine(document);
}

/** JSON lets most of what steers a terminal stand as it is; written as `\u009b` it is the same text to a program. */
function jsonLine(document: object): string {
  return `${printable(JSON.stringify(document))}\n`;
}

/** The failed items, for standard error. What many in a row have for a hint is said once, after the last of them. */
export function renderFailures(items: readonly ReportItem[]): string {
  const errors = items.flatMap(({ error }) => (error ? [error] : []));
  return errors
    .map(({ message, hint, at }, index) => errorLines(message, hint === errors[index + 1]?.hint ? undefined : hint, at))
    .join('');
}

/** @param verbose with the causes behind it */
export function renderError(error: MirrorError, verbose: boolean): string {
  const text = errorLines(error.message, error.hint, error.at);
  const report =
    error.code === 'E_INTERNAL'
      ? '  this is a bug in sie-mirror: please report it with the output of the same command and `-v`\n'
      : '';
  return `${text}${report}${verbose ? causes(error) : ''}`;
}

/** @param verdict of a command that gives one: what was not proven is said as clearly as what was */
export function renderErrorJson(command: string, error: MirrorError, verdict?: string): string {
  const { code, message, hint, exit, at } = error;
  const document = {
    schema: `sie-mirror/report/${command}/v1`,
    command,
    ok: false,
    verdict,
    error: { code, message, exit, hint, at },
  };
  return jsonLine(document);
}

function errorLines(
  message: string,
  hint: string | undefined,
  at: { side?: string; item?: string; url?: string },
): string {
  const side = at.side === undefined ? '' : `${at.side}: `;
  const item = at.item !== undefined && at.item !== '' && !message.includes(at.item) ? `${at.item}: ` : '';
  return `error: ${side}${printable(item)}${printable(message)}\n${hint === undefined ? '' : `  hint: ${printable(hint)}\n`}`;
}

function causes(error: Error): string {
  const lines: string[] = [];
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    lines.push(`  ${printable(cause.stack ?? cause.message).replaceAll('\\u000a', '\n  ')}`);
  return `${lines.join('\n  caused by\n')}\n`;
}
