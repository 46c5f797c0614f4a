import { expect, it } from 'vitest';
import { unnoticedFlips } from '../support/every-byte.ts';
import { temporaryDirectory } from '../support/place.ts';

// Every third byte: all of them take minutes, and say the same.
it('notices a bit that is flipped anywhere in a signed bundle', async () => {
  await using place = await temporaryDirectory();
  const { tried, unnoticed } = await unnoticedFlips(place.path, 3);
  expect(tried).toBeGreaterThan(2000);
  expect(unnoticed).toEqual([]);
}, 600_000);
