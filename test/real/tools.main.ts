import type { ToolRow } from './recipe.ts';
import { installTools } from './tools.ts';

const started = performance.now();
const { rows } = await installTools();
const seconds = ((performance.now() - started) / 1000).toFixed(1);
console.log(`\n${table(rows)}\n\n${rows.length} tools, ${seconds} s in all`);

function table(rows: ToolRow[]): string {
  const cells = rows.map((row) => [row.name, row.version, effort(row), row.path]);
  const all = [['tool', 'version', 'seconds', 'program'], ...cells];
  const width = (column: number): number => Math.max(...all.map((line) => line[column]?.length ?? 0));
  return all
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(width(column)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function effort(row: ToolRow): string {
  if (row.skipped !== undefined) return row.skipped;
  return row.seconds === 0 ? '-' : row.seconds.toFixed(1);
}
