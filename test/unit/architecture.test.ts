import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { version } from '../../src/core/version.ts';

const root = resolve(import.meta.dirname, '../..');
const source = join(root, 'src');

/** From top to bottom; a folder may import from rows below its own and from itself. */
const rows = [
  ['cli'],
  ['commands'],
  ['manifest', 'oci', 'hub', 'objects', 'bundle', 'sie', 'values', 'kube', 'doctor'],
  ['http', 'fs'],
  ['core'],
];

interface Import {
  from: string;
  to: string;
}

const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(join(source, file), 'utf8');
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)[^;'"]*?from\s*'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s*'([^']+)'/g,
  );
  return [...found].map((match) => ({ from: file, to: match[1] ?? match[2] ?? match[3] ?? '' }));
});
const internal = imports
  .filter(({ to }) => to.startsWith('.'))
  .map(({ from, to }) => ({ from, to: relative(source, resolve(source, dirname(from), to)) }));

const folderOf = (file: string): string => file.split('/')[0] ?? '';
const rowOf = (file: string): number => rows.findIndex((row) => row.includes(folderOf(file)));

it('finds the sources and their imports', () => {
  expect(files.length).toBeGreaterThan(40);
  expect(internal.length).toBeGreaterThan(100);
});

it('keeps every folder on a row', () => {
  expect([...new Set(files.map(folderOf))].toSorted()).toEqual(rows.flat().toSorted());
});

it('lets imports point down only, and keeps folders of one row strangers', () => {
  const wrong = internal.filter(({ from, to }) => {
    const sameFolder = folderOf(from) === folderOf(to);
    return !sameFolder && rowOf(from) >= rowOf(to);
  });
  expect(wrong).toEqual([]);
});

it('gives every npm package one owner file', () => {
  const owners = new Map<string, Set<string>>();
  for (const { from, to } of imports) {
    if (to.startsWith('.') || to.startsWith('node:')) continue;
    const name = to.startsWith('@') ? to.split('/').slice(0, 2).join('/') : (to.split('/')[0] ?? '');
    owners.set(name, (owners.get(name) ?? new Set()).add(from));
  }
  const shared = [...owners].filter(([, by]) => by.size > 1).map(([name, by]) => `${name}: ${[...by].join(', ')}`);
  expect(shared).toEqual([]);
});

it('has no import cycle', () => {
  const graph = new Map<string, string[]>();
  for (const { from, to } of internal) graph.set(from, [...(graph.get(from) ?? []), to]);
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) throw new Error(`cycle: ${[...path, file].join(' -> ')}`);
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  expect(done.size).toBe(files.length);
});

it('touches the process and the standard streams in cli/ only', () => {
  const outside = files.filter(
    (file) => !file.startsWith('cli/') && /\bprocess\.|\bconsole\./.test(readFileSync(join(source, file), 'utf8')),
  );
  expect(outside).toEqual([]);
});

it('states the version of package.json', () => {
  expect(version).toBe((JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version);
});
