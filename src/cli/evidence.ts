import type { Report, ReportItem } from '../core/report.ts';
import { formatBytes } from '../core/text.ts';
import { escapeXml } from './junit.ts';

/** Who ran the command, where and when: what an auditor asks first. */
export interface Witness {
  user: string;
  host: string;
  /** ISO 8601. */
  at: string;
  tool: string;
}

/** A report as one page that needs nothing else, for a file or for paper. */
export function renderEvidence(report: Report, witness: Witness): string {
  const verdict = escapeXml(report.verdict ?? (report.ok ? 'GOOD' : 'BAD'));
  const look = !report.ok ? 'bad' : verdict === 'GOOD' ? 'good' : 'partly';
  const facts = { ...report.facts, 'checked by': `${witness.user} on ${witness.host}`, 'checked at': witness.at };
  const failed = report.items.filter(({ state }) => state === 'failed');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeXml(`${report.command} ${report.facts?.['bundle'] ?? report.facts?.['checked'] ?? ''}`)}: ${verdict}</title>
<style>${style}</style>
</head>
<body>
<header class="${look}">
<p>sie-mirror ${escapeXml(report.command)}</p>
<h1>${verdict}</h1>
</header>
<main>
<table class="facts">
${Object.entries({ ...facts, 'checked with': witness.tool })
  .map(([name, value]) => `<tr><th scope="row">${escapeXml(name)}</th><td>${escapeXml(value)}</td></tr>`)
  .join('\n')}
</table>
${failed.length > 0 ? `<h2>What is wrong</h2>\n<ul>\n${failed.map(failureLine).join('\n')}\n</ul>` : ''}
${sections(report.items)}
</main>
</body>
</html>
`;
}

function failureLine({ error, name }: ReportItem): string {
  const hint = error?.hint === undefined ? '' : ` <em>${escapeXml(error.hint)}</em>`;
  return `<li>${escapeXml(error?.message ?? name)}${hint}</li>`;
}

const titles: Record<string, string> = {
  model: 'Models',
  dataset: 'Datasets',
  space: 'Spaces',
  image: 'Images',
  volume: 'Volumes',
  file: 'Files',
  object: 'Objects',
  blob: 'Blobs',
};

/** A table for each kind of item, in the order in which a reader asks for them. */
function sections(items: readonly ReportItem[]): string {
  return Object.entries(titles)
    .map(([kind, title]) => ({ title, rows: onePerName(items.filter((item) => item.kind === kind)) }))
    .filter(({ rows }) => rows.length > 0)
    .map(({ title, rows }) => `<h2>${title}</h2>\n${table(rows)}`)
    .join('\n');
}

/** Of a volume in which much is damaged each finding is told above; here it has one row. */
function onePerName(items: readonly ReportItem[]): ReportItem[] {
  return [...new Map(items.toReversed().map((item) => [item.name, item])).values()].toReversed();
}

function table(rows: readonly ReportItem[]): string {
  // A receipt knows nothing of licences.
  const licensed = rows.some(({ kind, detail }) => kind === 'model' && detail?.['objects'] === undefined);
  const head = ['verdict', 'name', 'digest or commit', ...(licensed ? ['licence'] : []), 'size'];
  return `<table>
<thead><tr>${head.map((name) => `<th scope="col">${name}</th>`).join('')}</tr></thead>
<tbody>
${rows.map((item) => row(item, licensed)).join('\n')}
</tbody>
</table>`;
}

function row({ state, name, digest, bytes, detail }: ReportItem, licensed: boolean): string {
  const text = (value: unknown): string => escapeXml(typeof value === 'string' ? value : '');
  const commit = text(detail?.['commit']);
  const shown =
    commit !== '' && name.endsWith(`@${detail?.['commit'] as string}`) ? text(detail?.['repo']) : text(name);
  const cells = [
    verdictCell(state),
    `<td>${shown}</td>`,
    `<td class="digest">${digest === undefined ? commit : text(digest)}</td>`,
    ...(licensed ? [`<td>${text(detail?.['license']) || 'none stated'}</td>`] : []),
    `<td class="size">${bytes === undefined ? '' : formatBytes(bytes)}</td>`,
  ];
  return `<tr>${cells.join('')}</tr>`;
}

function verdictCell(state: ReportItem['state']): string {
  if (state === 'failed') return '<td class="bad">BAD</td>';
  return state === 'skipped' ? '<td>not checked</td>' : '<td class="good">good</td>';
}

const style = `
:root { color-scheme: light; --good: #14622f; --partly: #8a5a00; --bad: #a3160d; --line: #c9ced6; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; margin: 0 auto; max-width: 70rem; padding: 1.5rem; }
header { border-left: .5rem solid var(--good); padding: .25rem 1rem; margin-bottom: 1.5rem; }
header.bad { border-color: var(--bad); }
header.partly { border-color: var(--partly); }
header p { margin: 0; color: #57606a; }
h1 { margin: 0; font-size: 2.2rem; color: var(--good); }
header.bad h1, td.bad { color: var(--bad); font-weight: 600; }
header.partly h1 { color: var(--partly); }
td.good { color: var(--good); }
h2 { font-size: 1.15rem; margin: 1.75rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
th, td, li { overflow-wrap: anywhere; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
.facts th { width: 14rem; font-weight: 600; }
thead th:first-child { width: 5rem; }
thead + tbody td:nth-child(2) { min-width: 13em; }
.digest { font: 12.5px/1.5 ui-monospace, monospace; }
.size { text-align: right; white-space: nowrap; }
@media (max-width: 40rem) { .facts th { width: auto; } }
@media print { body { padding: 0; max-width: none; font-size: 10pt; } .digest { font-size: 8pt; } @page { margin: 15mm; } }
`;
