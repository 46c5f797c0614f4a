import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { formatYaml, formatYamlDocuments, type YamlValue } from '../../../src/values/yaml.ts';

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    'y',
    'No',
    'on',
    'null',
    '~',
    '1',
    '1e3',
    '0x1f',
    '2.12.6-alpine',
    'a: b',
    'a #b',
    '- x',
    '*a',
    'a:',
    '',
  ),
);
const { value } = fc.letrec<{ value: YamlValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.integer(),
    fc.boolean(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(text, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
}));

it.each(['1.1', '1.2'] as const)('writes what a reader of YAML %s reads back', (version) => {
  fc.assert(
    fc.property(fc.dictionary(text, value, { noNullPrototype: true }), (document) => {
      // The key of a merge is one by its name alone in YAML 1.1, and none of ours.
      fc.pre(!JSON.stringify(document).includes('"<<"'));
      expect(parse(formatYaml(document), { version })).toEqual(document);
    }),
    { numRuns: 300 },
  );
});

it('puts comments above what they speak of, every line as one', () => {
  const written = formatYaml({ a: { b: [{ c: 1 }] } }, { 'a.b': 'two\nlines', 'a.b.0': 'an item' });

  expect(written).toBe('a:\n  # two\n  # lines\n  b:\n    # an item\n    - c: 1\n');
});

it('separates documents', () => {
  const documents = parseAllDocuments(formatYamlDocuments([{ a: 1 }, { b: [] }, { c: {} }]));

  expect(documents.map((document) => document.toJS() as unknown)).toEqual([{ a: 1 }, { b: [] }, { c: {} }]);
});
