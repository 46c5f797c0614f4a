import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { sortedList } from '../../../src/bundle/lists/sorted-list.ts';

const pathOf = ({ path }: { path: string }): string => path;

it('has what was put in, by the code units of its keys, however it came', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ unit: 'binary' }), { maxLength: 200 }), (paths) => {
      const sorted = [
        ...sortedList(
          paths.map((path) => ({ path })),
          pathOf,
        ),
      ].map(pathOf);
      expect(sorted).toEqual([...paths].sort((a, b) => (a < b ? -1 : 1)));
    }),
    { seed: 7, numRuns: 60 },
  );
});

it.each([8191, 8192, 8193, 40_000])('of %i elements is sorted in pieces', (count) => {
  // Each number comes once, as the step and the count have no factor in common.
  const numbers = Array.from({ length: count }, (_, index) => (index * 7919) % count);
  const names = numbers.map((number) => ({ path: String(number).padStart(6, '0') }));

  expect([...sortedList(names, pathOf)].map(({ path }) => Number(path))).toEqual([...numbers.keys()]);
});

it('of nothing is empty', () => {
  expect(sortedList([], pathOf)).toHaveLength(0);
});
