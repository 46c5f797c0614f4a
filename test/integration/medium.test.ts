import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { makeBundle } from '../support/made-bundle.ts';
import { filesBelow } from '../support/place.ts';

const bytes = (text: string): Buffer => Buffer.alloc(60_000, text);

/** The end of the name of what cannot be read. */
let rotten: string | undefined;

vi.mock(import('node:fs/promises'), async (importOriginal) => {
  const real = await importOriginal();
  const open = async (...args: Parameters<typeof real.open>): Promise<FileHandle> => {
    const file = await real.open(...args);
    if (rotten !== undefined && String(args[0]).endsWith(rotten))
      file.read = () =>
        Promise.reject(Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', syscall: 'read' }));
    return file;
  };
  return { ...real, open };
});

afterEach(() => {
  rotten = undefined;
});

it('brings all but what lies in a volume that cannot be read, names that, and goes on when it can', async () => {
  await using zone = await makeBundle({
    'org/first': { 'a.bin': bytes('a'), 'b.bin': bytes('b'), 'c.bin': bytes('c') },
    'org/second': { 'd.bin': bytes('d') },
  });
  const bring = (): ReturnType<typeof zone.bring> => zone.bring({ models: 'file:zone' });

  rotten = 'b.0002.tar';
  const report = await bring();

  expect([report.ok, report.exit]).toEqual([false, 3]);
  expect(
    report.items.filter(({ state }) => state === 'failed').map(({ name, error }) => [name.split('@')[0], error?.code]),
  ).toEqual([['org/first', 'E_MEDIUM']]);
  const there = (await filesBelow(join(zone.path, 'zone'))).filter((path) => path.endsWith('.bin'));
  expect(there.map((path) => path.split('/').at(-1))).toHaveLength(3);

  rotten = undefined;
  expect((await bring()).ok).toBe(true);
});
