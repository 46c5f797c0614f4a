import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { projectRoot } from '../../support/cli.ts';

const page = readFileSync(join(projectRoot, 'docs/bundle-comparison.md'), 'utf8');
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| +(?:---|\|)/.test(line) && !line.startsWith('|  |'));

it('the table of bundles has rows', () => {
  expect(rows.length).toBeGreaterThan(10);
});

it.each(rows.map((row) => [row.split('|')[1]?.trim() ?? '', row]))('claims only what a test shows: %s', (_, row) => {
  const cells = row.split('|').slice(1, -1);
  expect(cells).toHaveLength(7);
  const tests = [...(cells[2] ?? '').matchAll(/\]\(\.\.\/(test\/[^)]+\.test\.ts)\)/g)].map((match) => match[1] ?? '');
  expect(tests.length).toBeGreaterThan(0);
  expect(tests.filter((path) => !existsSync(join(projectRoot, path)))).toEqual([]);
});

const claims = ['bundle-comparison.md', 'bundle.md'].flatMap((file) =>
  [
    ...readFileSync(join(projectRoot, 'docs', file), 'utf8').matchAll(
      /\[`([^`]+)`\]\(\.\.\/(test\/[^)]+\.test\.ts)\)/g,
    ),
  ].map(([, title = '', path = '']) => ({ title, path })),
);

it('the pages name tests by their titles', () => {
  expect(claims.length).toBeGreaterThan(20);
});

it.each(claims)('there is a test `$title` in $path', ({ title, path }) => {
  expect(readFileSync(join(projectRoot, path), 'utf8')).toContain(`'${title}'`);
});
