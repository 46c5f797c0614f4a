import { createHash } from 'node:crypto';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert, asyncProperty, integer, subarray } from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Content } from '../../../src/core/ports.ts';
import { rangePlaces, receiveRanges } from '../../../src/fs/receive-ranges.ts';
import { collect, watchedContent } from '../../support/contents.ts';
import { codeOf } from '../../support/failures.ts';
import { filesBelow, temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const bytes = seededBytes('ranges', 1_000_003);
const rangeBytes = 64 * 1024;
const expected = {
  size: bytes.length,
  checksum: { algorithm: 'sha256', hex: createHash('sha256').update(bytes).digest('hex') } as const,
  item: 'big',
};
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let path: string;

beforeEach(async () => {
  place = await temporaryDirectory();
  path = join(place.path, 'big');
});

afterEach(() => place[Symbol.asyncDispose]());

/** Parts of some bytes that note what was asked for; `broken` gives an error for the part that begins there. */
function partsOf(
  source: Uint8Array,
  broken?: (from: number) => Error | undefined,
): { part: (from: number, to: number) => Content; asked: number[] } {
  const asked: number[] = [];
  const part = (from: number, to: number): Content => {
    asked.push(from);
    const error = broken?.(from);
    return watchedContent(source.subarray(from, to), { chunk: 10_000, broken: () => error });
  };
  return { part, asked };
}

describe('a file that is received in ranges', () => {
  it('is whole, and nothing is left beside it', async () => {
    const { part, asked } = partsOf(bytes);
    let seen = 0;
    await receiveRanges(path, part, expected, {
      rangeBytes,
      onBytes: (count) => {
        seen += count;
      },
    });
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect(await filesBelow(place.path)).toEqual(['big']);
    expect(seen).toBe(bytes.length);
    expect(asked).toHaveLength(16);
  });

  it('goes on with what is missing, whatever had come', async () => {
    const starts = Array.from({ length: 16 }, (_, index) => index * rangeBytes);
    await assert(
      asyncProperty(subarray(starts), integer({ min: 1, max: 5 }), async (failing, lanes) => {
        await using own = await temporaryDirectory();
        const file = join(own.path, 'big');
        const first = partsOf(bytes, (from) => (failing.includes(from) ? new Error('cut') : undefined));
        const broke = await receiveRanges(file, first.part, expected, { rangeBytes, lanes }).then(
          () => false,
          () => true,
        );
        expect(broke).toBe(failing.length > 0);
        expect((await filesBelow(own.path)).includes('big')).toBe(!broke);
        const { part, asked } = partsOf(bytes);
        if (broke) await receiveRanges(file, part, expected, { rangeBytes, lanes });
        const had = new Set(first.asked.filter((from) => !failing.includes(from)));
        expect(asked.filter((from) => had.has(from))).toEqual([]);
        expect((await readFile(file)).equals(bytes)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it('does not believe the journal of another file, nor a line that was cut', async () => {
    const { partial, journal } = rangePlaces(path);
    await writeFile(partial, Buffer.alloc(bytes.length));
    await writeFile(journal, `${JSON.stringify({ size: 1, checksum: 'sha256:x', rangeBytes })}\n0\n1\n`);
    await receiveRanges(path, partsOf(bytes).part, expected, { rangeBytes });
    expect((await readFile(path)).equals(bytes)).toBe(true);

    const other = join(place.path, 'other');
    const broken = partsOf(bytes, (from) => (from === 0 ? new Error('cut') : undefined));
    await codeOf(receiveRanges(other, broken.part, expected, { rangeBytes, lanes: 1 }));
    await appendFile(rangePlaces(other).journal, '1');
    const { part, asked } = partsOf(bytes);
    await receiveRanges(other, part, expected, { rangeBytes });
    expect(asked).toHaveLength(16);
    expect((await readFile(other)).equals(bytes)).toBe(true);
  });

  it.each([
    [
      'is refused with wrong bytes',
      'E_DIGEST_MISMATCH',
      (part: Content): Content => ({ ...part, open: flipped(part) }),
    ],
    [
      'is refused with a range too long',
      'E_SIZE_MISMATCH',
      (part: Content): Content => ({ ...part, size: part.size - 1 }),
    ],
  ])('%s, and goes on from the start then', async (_, code, change) => {
    const { part } = partsOf(bytes);
    expect(await codeOf(receiveRanges(path, (from, to) => change(part(from, to)), expected, { rangeBytes }))).toBe(
      code,
    );
    expect(await filesBelow(place.path)).not.toContain('big');
    await receiveRanges(path, part, expected, { rangeBytes });
    expect((await readFile(path)).equals(bytes)).toBe(true);
  });

  it('may be smaller than one range', async () => {
    const small = bytes.subarray(0, 10);
    const { part } = partsOf(small);
    const checksum = { algorithm: 'sha256', hex: createHash('sha256').update(small).digest('hex') } as const;
    await receiveRanges(path, part, { size: 10, checksum, item: 'small' });
    expect((await collect(part(0, 10).open(0))).equals(await readFile(path))).toBe(true);
  });
});

function flipped(part: Content): Content['open'] {
  return async function* flip(offset) {
    for await (const chunk of part.open(offset)) {
      const copy = Buffer.from(chunk);
      copy[0] = (copy[0] ?? 0) ^ 1;
      yield copy;
    }
  };
}
