import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import type { Content } from '../../../src/core/ports.ts';
import { StreamHashPool } from '../../../src/fs/stream-hash.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const hexOf = (bytes: Uint8Array, algorithm = 'sha256'): string => createHash(algorithm).update(bytes).digest('hex');

/** In chunks of other lengths than the buffers. */
function chunked(bytes: Uint8Array, announced = bytes.length): Content {
  return {
    size: announced,
    async *open() {
      await Promise.resolve();
      for (let start = 0; start < bytes.length; start += 77_777) yield bytes.subarray(start, start + 77_777);
    },
  };
}

it.each([0, 1, 256 * 1024, 256 * 1024 + 1, 512 * 1024, 1024 * 1024, 3_000_001])(
  'hashes %d bytes as one piece, beside others',
  async (size) => {
    let counted = 0;
    await using pool = new StreamHashPool({ threads: 2, onBytes: (bytes) => (counted += bytes) });
    const all = [size, size + 5, size * 2].map((each) => seededBytes(`s${each}`, each));
    const hashes = await Promise.all(all.map((bytes) => pool.hash(chunked(bytes))));
    expect(hashes).toEqual(all.map((bytes) => ({ hex: hexOf(bytes), size: bytes.length })));
    expect(counted).toBe(all.reduce((sum, bytes) => sum + bytes.length, 0));
    expect(await pool.hash(chunked(all[0] ?? Buffer.alloc(0)), 'sha512')).toMatchObject({
      hex: hexOf(all[0] ?? Buffer.alloc(0), 'sha512'),
    });
  },
);

it('says how much came of what is shorter or longer than was announced, and reads no further', async () => {
  await using pool = new StreamHashPool({ threads: 1, onBytes: () => {} });
  const bytes = seededBytes('x', 900_000);
  expect((await pool.hash(chunked(bytes, 1_000_000))).size).toBe(900_000);
  expect((await pool.hash(chunked(bytes, 400_000))).size).toBe(77_777 * 6);
});

it('goes on with the next stream when one has broken', async () => {
  await using pool = new StreamHashPool({ threads: 1, onBytes: () => {} });
  const bytes = seededBytes('x', 900_000);
  const broken: Content = {
    size: 900_000,
    async *open() {
      yield* chunked(bytes.subarray(0, 600_000)).open(0);
      throw new Error('cut');
    },
  };
  await expect(pool.hash(broken)).rejects.toThrow('cut');
  expect((await pool.hash(chunked(bytes))).hex).toBe(hexOf(bytes));
});
