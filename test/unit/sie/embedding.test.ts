import { expect, it } from 'vitest';
import { readEmbedding } from '../../../src/sie/embedding.ts';
import { mostNumbers } from '../../../src/sie/vector.ts';
import { codeOfCall } from '../../support/failures.ts';

const answer = (form: string, part: object): unknown => ({ items: [{ [form]: part }] });
const many = Array.from({ length: mostNumbers + 8 }, () => 1);

it.each([
  ['announced dimensions', 'sparse' as const, { dims: 4e9, indices: [3_999_999_999], values: [1] }],
  ['an index', 'sparse' as const, { indices: [mostNumbers], values: [1] }],
  ['dimensions that are no number of things', 'sparse' as const, { dims: -1, indices: [0], values: [1] }],
  ['numbers', 'dense' as const, { values: many }],
  ['packed bits', 'dense' as const, { dtype: 'binary', values: many.slice(0, mostNumbers / 8 + 1) }],
  ['tokens', 'multivector' as const, { token_dims: 8, values: many }],
  ['packed tokens', 'multivector' as const, { token_dims: 8, dtype: 'binary', values: many.slice(0, mostNumbers / 2) }],
  ['dimensions of a token', 'multivector' as const, { token_dims: 4e9, values: [1] }],
])('refuses an answer whose %s would only take memory', (_, form, part) => {
  expect(codeOfCall(() => readEmbedding(answer(form, part), form, undefined))).toBe('E_SMOKE');
});

it('reads a sparse vector of a large vocabulary', () => {
  const { vector } = readEmbedding(
    answer('sparse', { dims: 262_144, indices: [0, 262_143], values: [1, 2] }),
    'sparse',
    undefined,
  );
  expect([vector.length, vector[0], vector[262_143]]).toEqual([262_144, 1, 2]);
});
