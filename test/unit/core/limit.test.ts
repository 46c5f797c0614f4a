import { expect, it } from 'vitest';
import { forEachBySize, forEachLimited, forEachOfMany, requestsAtOnce, smallBody } from '../../../src/core/limit.ts';

const pause = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('does each item once, and no more at a time than there are slots', async () => {
  const done: number[] = [];
  let [running, most] = [0, 0];
  await forEachLimited([...Array(50).keys()], 3, async (item) => {
    most = Math.max(most, ++running);
    await pause();
    running -= 1;
    done.push(item);
  });

  expect(most).toBe(3);
  expect(done.toSorted((a, b) => a - b)).toEqual([...Array(50).keys()]);
});

it('after the first error begins nothing more, waits for what has begun, and throws it', async () => {
  const [begun, ended]: [number[], number[]] = [[], []];
  const work = forEachLimited([0, 1, 2, 3, 4, 5], 3, async (item) => {
    begun.push(item);
    if (item === 1) throw new Error('first');
    await pause();
    ended.push(item);
    if (item === 2) throw new Error('second');
  });

  await expect(work).rejects.toThrow('first');
  expect(begun).toEqual([0, 1, 2]);
  expect(ended).toEqual([0, 2]);
});

it('moves few large items, the largest first, beside many small ones', async () => {
  const sizes = [
    ...Array(100).fill(10),
    smallBody,
    smallBody + 1,
    9 * smallBody,
    5 * smallBody,
    7 * smallBody,
  ] as number[];
  const most = { large: 0, small: 0 };
  const running = { large: 0, small: 0 };
  const large: number[] = [];
  await forEachBySize(
    sizes.map((size) => ({ size })),
    2,
    async ({ size }) => {
      const lane = size > smallBody ? 'large' : 'small';
      if (lane === 'large') large.push(size);
      most[lane] = Math.max(most[lane], ++running[lane]);
      await pause();
      running[lane] -= 1;
    },
  );

  expect(most).toEqual({ large: 2, small: requestsAtOnce(2) });
  expect(large).toEqual([9, 7, 5].map((each) => each * smallBody).concat(smallBody + 1));
});

it('has nothing to do for no items', async () => {
  await expect(forEachBySize([], 4, async () => Promise.reject(new Error('called')))).resolves.toBeUndefined();
});

it('begins with the largest of the small items too, but takes those of a long list as they come', async () => {
  const items = [3, 1, 2].map((size) => ({ size }));
  const [sorted, asTheyCome]: [number[], number[]] = [[], []];
  await forEachBySize(items, 1, async ({ size }) => void sorted.push(size));
  await forEachOfMany(items, 1, async ({ size }) => void asTheyCome.push(size));

  expect([sorted, asTheyCome]).toEqual([
    [3, 2, 1],
    [3, 1, 2],
  ]);
});
