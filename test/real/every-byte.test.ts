import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { expect, it, vi } from 'vitest';
import { MirrorError } from '../../src/core/errors.ts';
import type { Extent } from '../../src/fs/read.ts';
import { unnoticedFlips } from '../support/every-byte.ts';
import { temporaryDirectory } from '../support/place.ts';

// To start threads for each of thousands of verdicts would take minutes; that theirs are the same is tested elsewhere.
vi.mock(import('../../src/fs/hash-pool.ts'), async (importOriginal) => {
  const { HashPool: Real } = await importOriginal();
  class HashPool extends Real {
    constructor() {
      super(0, () => {});
    }

    override async sha256(extents: readonly Extent[]): Promise<string> {
      const hash = createHash('sha256');
      for (const extent of extents) hash.update(bytesOf(extent));
      return hash.digest('hex');
    }
  }
  return { HashPool };
});

function bytesOf({ path, offset, size }: Extent): Buffer {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(size);
    if (readSync(file, buffer, 0, size, offset) === size) return buffer;
    throw new MirrorError('E_SIZE_MISMATCH', `\`${path}\` ends early`);
  } finally {
    closeSync(file);
  }
}

it('notices a bit that is flipped in any byte of a signed and approved bundle', async () => {
  await using place = await temporaryDirectory();
  const { tried, unnoticed } = await unnoticedFlips(place.path, 1);
  expect(tried).toBeGreaterThan(6000);
  expect(unnoticed).toEqual([]);
}, 600_000);
