import type { FileHandle } from 'node:fs/promises';
import { expect, it, vi } from 'vitest';
import { temporaryDirectory } from '../../support/place.ts';
import { verdictOf } from '../../support/every-byte.ts';
import { buildBundle } from '../../support/sealed-bundle.ts';

let reads = 0;

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  const open = async (...args: Parameters<typeof real.open>): Promise<FileHandle> => {
    const file = await real.open(...args);
    const read = file.read.bind(file) as (...given: unknown[]) => unknown;
    if (String(args[0]).endsWith('.tar'))
      Object.assign(file, {
        read: (...given: unknown[]) => {
          reads += 1;
          return read(...given);
        },
      });
    return file;
  };
  return { ...real, open };
});

it.each([
  ['small files: many of them are near each other', 400, 100, 0.1],
  ['large files: one for each, and for the padding after it', 40, 9000, 2.2],
])('what is between the files of a volume is read in few calls, %s', async (_, count, size, callsPerFile) => {
  await using place = await temporaryDirectory();
  const sizes = Object.fromEntries(Array.from({ length: count }, (__, index) => [`hub/${index}`, size]));
  const { directory, inventory } = await buildBundle(place.path, sizes);
  reads = 0;

  expect(await verdictOf(directory)).toBe(0);

  // Two more for each volume: its first header, and its end.
  expect(reads).toBeLessThanOrEqual(count * callsPerFile + 2 * inventory.volumes.length);
  expect(reads).toBeGreaterThan(0);
});
