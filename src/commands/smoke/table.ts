import type { ReportItem } from '../../core/report.ts';
import type { Times } from './run.ts';

/** One line for each model, in columns. @param compared whether there were recorded vectors to compare with */
export function smokeTable(items: readonly ReportItem[], compared: boolean): string[] {
  const rows = [
    ['model', 'verdict', 'what', 'cold start', 'load', 'inference', 'proof', 'own counters'],
    ...items.map(row),
  ];
  if (compared)
    for (const [index, cells] of rows.entries()) cells.push(index === 0 ? 'recorded' : likeness(items[index - 1]));
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  return rows.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function row({ name, state, detail = {}, error }: ReportItem): string[] {
  if (state === 'failed') return [name, 'BAD', error?.code ?? ''];
  if (state === 'skipped') return [name, 'not asked', 'no model of this cluster'];
  const times = detail['times'] as Times;
  const proof = detail['proof'] as { by: string } | undefined;
  const counters = detail['counters'] as { seen: string };
  const dims = detail['dims'];
  const { model, repo } = detail;
  const weights = typeof repo === 'string' && repo !== model ? `, weights of ${repo}` : '';
  return [
    name,
    'good',
    `${String(detail['output'])}${typeof dims === 'number' ? ` ${dims}` : ''}${weights}`,
    `${times.coldStart.toFixed(1)} s`,
    `${times.load.toFixed(1)} s`,
    times.inference === undefined ? '' : `${(times.inference * 1000).toFixed(1)} ms`,
    proof?.by ?? '',
    counters.seen,
  ];
}

/** How a model that answered compares with its recorded vectors. */
function likeness(item: ReportItem | undefined): string {
  const lowest = item?.detail?.['golden'];
  if (item?.state !== 'done') return '';
  return typeof lowest === 'number' ? `cosine ${lowest.toFixed(5)}` : 'not compared';
}
