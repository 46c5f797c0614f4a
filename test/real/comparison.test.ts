import { beforeAll, expect, it } from 'vitest';
import type { Finding } from './comparison/finding.ts';
import { credentials, manyWriters } from './comparison/registries.ts';
import { comparisonRows } from './comparison/rows.ts';
import { platforms } from './comparison/fidelity.ts';
import { type CopyTool, copyTools } from './copy-tools.ts';
import { Lab } from './lab.ts';
import { installTools, type Tools } from './tools.ts';

/** The column of ours in docs/copy-comparison.md; the columns of the peers are measured by compare.main.ts. */

/** What is not `ok`: the page says the same. */
const weak = new Map<string, Finding['verdict']>([
  [platforms.title, 'fails'],
  [credentials.title, 'partly'],
  [manyWriters.title, 'partly'],
]);

let tools: Tools;
let ours: CopyTool;

beforeAll(async () => {
  tools = await installTools();
  [ours] = copyTools(tools);
});

it.each(comparisonRows.map((row) => [row.title, row] as const))('%s', async (title, row) => {
  await using lab = await Lab.open({ tools, unit: 4 * 1024 ** 2, timeoutMs: 120_000 });
  const finding = await row.measure(ours, lab);
  expect(finding, finding.detail).toMatchObject({ verdict: weak.get(title) ?? 'ok' });
});
