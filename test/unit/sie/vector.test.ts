import { expect, it } from 'vitest';
import { checkVector, cosine, norm } from '../../../src/sie/vector.ts';
import { codeOfCall } from '../../support/failures.ts';

it('takes a vector of finite numbers', () => {
  expect(checkVector([0, -0.5, 1e-20], undefined, undefined)).toEqual([0, -0.5, 1e-20]);
  expect(checkVector([1, 2], 2, 2)).toEqual([1, 2]);
});

it.each<[string, unknown, number | undefined, number | undefined]>([
  ['nothing', undefined, undefined, undefined],
  ['null', null, undefined, undefined],
  ['text', 'abc', undefined, undefined],
  ['an empty list', [], undefined, undefined],
  ['an object with a length', { length: 2, 0: 1, 1: 2 }, undefined, undefined],
  ['not a number', [1, Number.NaN], undefined, undefined],
  ['infinity', [1, -Infinity], undefined, undefined],
  ['null in place of a number, as JSON has it', [1, null], undefined, undefined],
  ['a number as text', ['1'], undefined, undefined],
  ['lists in a list', [[1, 2]], undefined, undefined],
  ['zeros only', [0, 0, -0], undefined, undefined],
  ['other dimensions than were announced', [1, 2, 3], 2, undefined],
  ['other dimensions than were wanted', [1, 2, 3], 3, 2],
])('refuses %s', (_, values, dims, wanted) => {
  expect(codeOfCall(() => checkVector(values, dims, wanted))).toBe('E_SMOKE');
});

it.each([1, 1e200, 1e-200, 5e-324])('measures vectors of numbers as large as %d', (scale) => {
  expect(norm([3 * scale, 4 * scale]) / (5 * scale)).toBeCloseTo(1, 10);
  expect(cosine([scale, scale], [scale, 0])).toBeCloseTo(Math.SQRT1_2, 10);
  expect(cosine([scale, 0], [0, 1])).toBe(0);
});

it('has no length for what no number is large enough for, and no angle for zeros', () => {
  expect(norm([1.7e308, 1.7e308])).toBe(Infinity);
  expect(norm([0, 0])).toBe(0);
  expect(cosine([0, 0], [1, 0])).toBeNaN();
});
