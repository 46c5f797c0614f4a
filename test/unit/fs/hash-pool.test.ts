import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { HashPool } from '../../../src/fs/hash-pool.ts';

import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const mebi = 1024 * 1024;
const bytes = Buffer.from(seededBytes('pool', 5 * mebi + 3));
const hex = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

async function withFile(work: (path: string) => Promise<void>): Promise<void> {
  await using place = await temporaryDirectory();
  const directory = place.path;
  const path = join(directory, 'file');
  await writeFile(path, bytes);
  await work(path);
}

it('hashes a file, and pieces of files as one', async () => {
  await withFile(async (path) => {
    let told = 0;
    await using pool = new HashPool(1, (count) => (told += count));

    expect(await pool.sha256([{ path, offset: 0, size: bytes.length }])).toBe(hex(bytes));
    expect(told).toBe(bytes.length);
    expect(
      await pool.sha256([
        { path, offset: 3 * mebi, size: 2 * mebi + 3 },
        { path, offset: 9, size: 0 },
        { path, offset: 10, size: 100 },
      ]),
    ).toBe(hex(Buffer.concat([bytes.subarray(3 * mebi), bytes.subarray(10, 110)])));
    expect(await pool.sha256([])).toBe(hex(Buffer.alloc(0)));
  });
});

it('answers each of many with its own hash', async () => {
  await withFile(async (path) => {
    const sizes = Array.from({ length: 40 }, (_, index) => index * 1001);
    await using pool = new HashPool(3, () => {});

    const found = await Promise.all(sizes.map((size) => pool.sha256([{ path, offset: size, size }])));

    expect(found).toEqual(sizes.map((size) => hex(bytes.subarray(size, 2 * size))));
  });
});

it('tells what is wrong with one, and goes on with the others', async () => {
  await withFile(async (path) => {
    await using pool = new HashPool(1, () => {});

    const early = pool.sha256([{ path, offset: 0, size: bytes.length + 1 }]);
    const missing = pool.sha256([{ path: `${path}.missing`, offset: 0, size: 1 }]);
    const good = pool.sha256([{ path, offset: 0, size: 10 }]);

    expect(await codeOf(early)).toBe('E_SIZE_MISMATCH');
    expect(await codeOf(missing)).toBe('E_NOT_FOUND');
    expect(await good).toBe(hex(bytes.subarray(0, 10)));
  });
});

it('stops what runs, what waits and what comes later when it is interrupted', async () => {
  await withFile(async (path) => {
    const controller = new AbortController();
    await using pool = new HashPool(1, () => {}, controller.signal);
    const hash = async (): Promise<string> => pool.sha256([{ path, offset: 0, size: bytes.length }]);

    const outcomes = [codeOf(hash()), codeOf(hash())];
    controller.abort();
    outcomes.push(codeOf(hash()));

    expect(await Promise.all(outcomes)).toEqual(['E_ABORTED', 'E_ABORTED', 'E_ABORTED']);
  });
});

it('does nothing when it was interrupted before it began', async () => {
  await withFile(async (path) => {
    await using pool = new HashPool(1, () => {}, AbortSignal.abort());

    expect(await codeOf(pool.sha256([{ path, offset: 0, size: 10 }]))).toBe('E_ABORTED');
  });
});
