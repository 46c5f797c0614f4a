import { expect, it } from 'vitest';
import { DigestList } from '../../../src/bundle/lists/digest-list.ts';
import { sha256 } from '../../../src/core/digest.ts';

it('gives back each digest that was put in, and none behind them', () => {
  const digests = Array.from({ length: 100 }, (_, index) => sha256(String(index)));
  const list = new DigestList();
  for (const digest of digests) list.push(digest);

  expect(list).toHaveLength(100);
  expect(digests.map((_, index) => list.at(index))).toEqual(digests);
  expect(list.at(100)).toBeUndefined();
});
