import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { makeBundle } from '../support/made-bundle.ts';
import { filesBelow } from '../support/place.ts';

const bytes = (text: string): Buffer => Buffer.alloc(60_000, text);

/** The end of the name of what cannot be read, and who has it open. */
const rotten = vi.hoisted((): { name: string | undefined; open: Set<number> } => ({
  name: undefined,
  open: new Set(),
}));

function failRead(): never {
  throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', syscall: 'read' });
}

vi.mock(import('node:fs/promises'), async (importOriginal) => {
  const real = await importOriginal();
  const open = async (...args: Parameters<typeof real.open>): Promise<FileHandle> => {
    const file = await real.open(...args);
    rotten.open.delete(file.fd);
    if (rotten.name === undefined || !String(args[0]).endsWith(rotten.name)) return file;
    rotten.open.add(file.fd);
    file.read = async () => failRead();
    return file;
  };
  return { ...real, open };
});

vi.mock(import('node:fs'), async (importOriginal) => {
  const real = await importOriginal();
  const readSync = ((fd: number, ...rest: [Buffer]): number =>
    rotten.open.has(fd) ? failRead() : real.readSync(fd, ...rest)) as typeof real.readSync;
  return { ...real, readSync };
});

afterEach(() => {
  rotten.name = undefined;
});

it('brings all but what lies in a volume that cannot be read, names that, and goes on when it can', async () => {
  await using zone = await makeBundle({
    'org/first': { 'a.bin': bytes('a'), 'b.bin': bytes('b'), 'c.bin': bytes('c') },
    'org/second': { 'd.bin': bytes('d') },
  });
  const bring = (): ReturnType<typeof zone.bring> => zone.bring({ models: 'file:zone' });

  rotten.name = 'b.0002.tar';
  const report = await bring();

  expect([report.ok, report.exit]).toEqual([false, 3]);
  expect(
    report.items.filter(({ state }) => state === 'failed').map(({ name, error }) => [name.split('@')[0], error?.code]),
  ).toEqual([['org/first', 'E_MEDIUM']]);
  const there = (await filesBelow(join(zone.path, 'zone'))).filter((path) => path.endsWith('.bin'));
  expect(there.map((path) => path.split('/').at(-1))).toHaveLength(3);

  rotten.name = undefined;
  expect((await bring()).ok).toBe(true);
});
