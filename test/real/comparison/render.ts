import type { CopyTool } from '../copy-tools.ts';
import type { ComparisonRow, Finding } from './finding.ts';

export interface MeasuredRow {
  row: ComparisonRow;
  /** In the order of the tools. */
  findings: Finding[];
}

const words: Record<Finding['verdict'], string> = {
  ok: 'ok',
  partly: 'partly',
  fails: '**fails**',
  hangs: '**hangs**',
  none: '-',
};

/** The table alone, as Markdown. */
export function comparisonTable(tools: readonly CopyTool[], measured: readonly MeasuredRow[]): string {
  const head = ['', ...tools.map(({ name, version }) => (version === 'this' ? name : `${name} ${version}`))];
  const rows = measured.map(({ row, findings }) => [row.title, ...findings.map(cell)]);
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const [begin, end] = ['<!-- the table of copy-comparison.md -->', '<!-- its end -->'] as const;

/** A page with this table in the place that it has for it. */
export function withTable(page: string, table: string): string {
  const [before, after] = [page.indexOf(begin), page.indexOf(end)];
  if (before < 0 || after < before) throw new Error(`the page has no place between \`${begin}\` and \`${end}\``);
  return `${page.slice(0, before + begin.length)}\n\n${table}\n\n${page.slice(after)}`;
}

/** The page of the comparison, as Markdown. */
export function renderComparison(
  tools: readonly CopyTool[],
  measured: readonly MeasuredRow[],
  { unitMebibytes, timeoutSeconds }: { unitMebibytes: number; timeoutSeconds: number },
): string {
  const table = comparisonTable(tools, measured);
  const about = measured.map(({ row }) => `- **${row.title}**: ${row.about}.`).join('\n');
  return `# copy beside crane, oras, regctl and skopeo

Measured, not read: \`npx tsx test/real/compare.main.ts --out docs/copy-comparison.md --table-in docs/copy.md\` runs every tool through every row, against
real registries (CNCF distribution, olareg) or, where a row says what a registry does that none of these does, the one of this
project's tests, which is held to real clients. That each cell of the first column is *ok* is held by the test of the same name in
\`test/real/comparison.test.ts\`, with a smaller unit; the numbers are of this run. Every tool gets the flags that help it most: \`crane copy\`,
\`oras cp\`, \`regctl image copy\`, \`skopeo copy --all --preserve-digests --retry-times 3\`; where a row is about referrers \`oras cp -r\` and
\`regctl image copy --referrers --digest-tags\`, where it is not \`sie-mirror copy --no-referrers\`. Each cell is one run: where
requests or processes race (dropped uploads, dying tokens, several writers), another run may end otherwise. skopeo is the one of Debian 12;
newer ones were not measured.

${table}

*ok*: did it, as the row below says. *partly*: not all of it; the cell says what. *-*: has no way to ask for it.
*hangs*: had not ended after ${timeoutSeconds} s. A unit is ${unitMebibytes} MiB.

${about}
`;
}

function cell({ verdict, detail }: Finding): string {
  const plain = verdict === 'ok' && detail !== '' ? detail : [words[verdict], detail].filter(Boolean).join(': ');
  return plain.startsWith('ok') || verdict !== 'ok' ? plain : `ok: ${plain}`;
}
