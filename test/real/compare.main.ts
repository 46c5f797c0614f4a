import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { ComparisonRow, Finding } from './comparison/finding.ts';
import { comparisonTable, type MeasuredRow, renderComparison, withTable } from './comparison/render.ts';
import { comparisonRows } from './comparison/rows.ts';
import { type CopyTool, copyTools } from './copy-tools.ts';
import { Lab, type LabOptions } from './lab.ts';
import { installTools } from './tools.ts';

/** Measures every row with every tool, and writes the page, and the table into another one. */

const mebi = 1024 ** 2;

async function measure(row: ComparisonRow, tool: CopyTool, options: LabOptions): Promise<Finding> {
  await using lab = await Lab.open(options);
  return await row.measure(tool, lab);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: 'string' },
      'table-in': { type: 'string' },
      unit: { type: 'string', default: '25' },
      timeout: { type: 'string', default: '120' },
      tool: { type: 'string', multiple: true },
    },
  });
  const tools = await installTools();
  const chosen = copyTools(tools).filter(({ name }) => values.tool?.includes(name) ?? true);
  const rows = comparisonRows.filter(
    ({ title }) => positionals.length === 0 || positionals.some((word) => title.includes(word)),
  );
  const options = { tools, unit: Number(values.unit) * mebi, timeoutMs: Number(values.timeout) * 1000 };
  const measured: MeasuredRow[] = [];
  for (const row of rows) {
    const findings: Finding[] = [];
    for (const tool of chosen) {
      const finding = await measure(row, tool, options);
      console.error(`${row.title} | ${tool.name}: ${finding.verdict} ${finding.detail}`);
      findings.push(finding);
    }
    measured.push({ row, findings });
  }
  const text = renderComparison(chosen, measured, {
    unitMebibytes: Number(values.unit),
    timeoutSeconds: Number(values.timeout),
  });
  console.log(text);
  if (values.out !== undefined) await writeFile(resolve(values.out), text);
  const page = values['table-in'] === undefined ? undefined : resolve(values['table-in']);
  if (page !== undefined)
    await writeFile(page, withTable(await readFile(page, 'utf8'), comparisonTable(chosen, measured)));
}

await main();
