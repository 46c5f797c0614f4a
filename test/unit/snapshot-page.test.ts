import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const docs = join(import.meta.dirname, '../../docs');
const [, table = ''] = readFileSync(join(docs, 'snapshot.md'), 'utf8').split('## Complaints about');
const rows = table.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| complaint'));

it.each(rows)('the tests that show what becomes of a complaint are there: %s', (row) => {
  const named = [...row.matchAll(/\[`([^`]+)`\]\((\.\.\/test\/[^)]+\.test\.ts)\)/g)];
  expect(named.length).toBeGreaterThan(0);
  for (const [, title = '', path = ''] of named) expect(readFileSync(join(docs, path), 'utf8')).toContain(`'${title}'`);
});
