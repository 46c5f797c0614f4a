import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Content } from '../../../src/core/ports.ts';
import { type ByteRanges, paged, rangesOf, sliceOf } from '../../../src/hub/safety/byte-ranges.ts';
import { watchedContent } from '../../support/contents.ts';
import { codeOf } from '../../support/failures.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const bytes = Buffer.from(seededBytes('ranges', 1_000_000));
const forms: [string, () => ByteRanges, Buffer][] = [
  ['a content', () => rangesOf(watchedContent(bytes)), bytes],
  ['a content read by pages', () => paged(rangesOf(watchedContent(bytes))), bytes],
  ['a slice', () => sliceOf(rangesOf(watchedContent(bytes)), 70_000, 500_000), bytes.subarray(70_000, 570_000)],
  ['a slice that is too long', () => sliceOf(rangesOf(watchedContent(bytes)), 900_000, 500_000), bytes.subarray(900_000)],
]; // prettier-ignore

describe.each(forms)('ranges of %s', (_, make, whole) => {
  it('give the bytes that stand there, and fewer only at the end', async () => {
    const ranges = make();
    expect(ranges.size).toBe(whole.length);
    const length = fc.oneof(fc.nat(300_000), fc.nat(20));
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length + 10), length, async (offset, count) => {
        expect((await ranges.read(offset, count)).equals(whole.subarray(offset, offset + count))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

it('read each page once', async () => {
  const content = watchedContent(bytes);
  const ranges = paged(rangesOf(content));
  for (const offset of [0, 10, 65_530, 8, 65_536]) await ranges.read(offset, 10);
  expect(content.opened).toEqual([0, 65_536]);
});

it('ask for no byte behind what they want', async () => {
  const asked: (number | undefined)[][] = [];
  const content: Content = {
    size: bytes.length,
    open: (offset, signal, end) => {
      asked.push([offset, end]);
      return watchedContent(bytes).open(offset, signal);
    },
  };
  await rangesOf(content).read(100, 50);
  await rangesOf(content).read(bytes.length - 5, 50);
  expect(asked).toEqual([
    [100, 150],
    [bytes.length - 5, bytes.length],
  ]);
});

it('refuse a content that is shorter than it said', async () => {
  const short: Content = { ...watchedContent(bytes.subarray(0, 100)), size: 200 };
  expect(await codeOf(rangesOf(short).read(50, 100))).toBe('E_SIZE_MISMATCH');
});
