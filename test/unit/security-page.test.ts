import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const docs = join(import.meta.dirname, '../../docs');
const page = readFileSync(join(docs, 'security.md'), 'utf8');
const named = [...page.matchAll(/\[`([^`]+)`\]\((\.\.\/test\/[^)]+\.test\.ts)\)/g)].map(
  ([, title = '', path = '']) => ({ title, path }),
);

it('names tests for what the threat model claims', () => {
  expect(named.length).toBeGreaterThan(40);
});

it.each(named.filter(({ title }) => !title.endsWith('.test.ts')))('has a test `$title` in $path', ({ title, path }) => {
  expect(readFileSync(join(docs, path), 'utf8')).toContain(`'${title}'`);
});
