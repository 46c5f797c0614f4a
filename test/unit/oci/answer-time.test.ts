import { expect, it } from 'vitest';
import { blobAnswerMs, manifestAnswerMs } from '../../../src/oci/registry/answer-time.ts';

const minute = 60_000;
const mebi = 1024 ** 2;

it('a lost answer to a small body is not waited for as long as one to a large body may take', () => {
  expect(blobAnswerMs(2)).toBeLessThanOrEqual(2 * minute + 1);
  expect(blobAnswerMs(1024 * mebi)).toBeGreaterThan(3 * minute);
  expect(blobAnswerMs(20 * 1024 * mebi)).toBe(15 * minute);
});

it('an index of many children has time for each of them', () => {
  expect(manifestAnswerMs(700)).toBeLessThan(3 * minute);
  expect(manifestAnswerMs(200_000)).toBeGreaterThan(3 * minute);
  expect(manifestAnswerMs(4 * mebi)).toBe(15 * minute);
});
