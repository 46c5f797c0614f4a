import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { comparisonRows } from '../real/comparison/rows.ts';

const docs = join(import.meta.dirname, '../../docs');
const page = readFileSync(join(docs, 'copy.md'), 'utf8');
const [, complaints = ''] = page.split('## Complaints about');
const rowsOf = (text: string): string[] => text.split('\n').filter((line) => /^\| (?!complaint)/.test(line));

it.each(rowsOf(complaints))('the tests that show what becomes of a complaint are there: %s', (row) => {
  const named = [...row.matchAll(/\[`([^`]+)`\]\((\.\.\/test\/[^)]+\.ts)\)/g)];
  expect(named.length).toBeGreaterThan(0);
  for (const [, title = '', path = ''] of named) expect(readFileSync(join(docs, path), 'utf8')).toContain(`'${title}'`);
});

const measured = page.slice(page.indexOf('<!-- the table of'), page.indexOf('<!-- its end -->'));
const comparison = readFileSync(join(docs, 'copy-comparison.md'), 'utf8');

it('shows the table that was measured', () => {
  const table = measured.split('\n').filter((line) => line.startsWith('|'));
  expect(table).toEqual(comparison.split('\n').filter((line) => line.startsWith('|')));
});

it('has a row in the table for each that is measured, and no other', () => {
  const titles = rowsOf(measured)
    .filter((line) => !line.startsWith('| ---'))
    .map((line) => line.split(' | ')[0]?.slice(2));
  expect(titles.slice(1)).toEqual(comparisonRows.map(({ title }) => title));
});
