import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { llmkubeModel } from '../../support/llmkube.ts';

const directory = resolve(import.meta.dirname, '../../../manifests/llmkube');
const examples = readdirSync(directory).map((name) => ({
  name,
  documents: parseAllDocuments(readFileSync(join(directory, name), 'utf8')),
}));
const modelsOf = ({ documents }: (typeof examples)[number]): unknown[] =>
  documents.map((document) => document.toJS() as { kind: string }).filter(({ kind }) => kind === 'Model');

it('has an example for every source that a zone has', () => {
  const sources = examples.flatMap(modelsOf).map((model) => llmkubeModel.parse(model).spec.source.split('/')[0]);

  expect(new Set(sources)).toEqual(new Set(['', 'https:', 'pvc:', 's3:']));
});

it.each(examples)('$name is YAML of which every Model is one', (example) => {
  expect(example.documents.flatMap(({ errors }) => errors)).toEqual([]);
  expect(modelsOf(example).map((model) => llmkubeModel.safeParse(model).success)).toEqual([true]);
});
