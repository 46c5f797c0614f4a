import type { FileHandle } from 'node:fs/promises';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import { importBundle } from '../../src/commands/import.ts';
import { snapshot } from '../../src/commands/snapshot.ts';
import { testContext } from '../support/context.ts';
import { startHub } from '../support/hub.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';

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
  await using place = await temporaryDirectory();
  const hub = await startHub();
  const sizes = { 'a.bin': 60_000, 'b.bin': 60_000, 'c.bin': 60_000 };
  const files = Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, Buffer.alloc(size, name)]));
  hub.addRepo({ id: 'org/first', files });
  hub.addRepo({ id: 'org/second', files: { 'd.bin': Buffer.alloc(60_000, 'd') } });
  await writeFile(join(place.path, 'tool.mjs'), '');
  const { context } = await testContext({
    cwd: place.path,
    env: { HF_ENDPOINT: hub.url },
    toolFile: join(place.path, 'tool.mjs'),
  });
  await snapshot({ repos: ['org/first', 'org/second'], store: 'store' }, context);
  await bundle({ store: 'store', out: 'usb', name: 'b', volumeSize: 80 * 1024 }, context);
  const bring = (): ReturnType<typeof importBundle> => importBundle({ bundle: 'usb/b', models: 'file:zone' }, context);

  rotten = 'b.0002.tar';
  const report = await bring();

  expect([report.ok, report.exit]).toEqual([false, 3]);
  expect(
    report.items.filter(({ state }) => state === 'failed').map(({ name, error }) => [name.split('@')[0], error?.code]),
  ).toEqual([['org/first', 'E_MEDIUM']]);
  const there = (await filesBelow(join(place.path, 'zone'))).filter((path) => path.endsWith('.bin'));
  expect(there.map((path) => path.split('/').at(-1))).toHaveLength(3);

  rotten = undefined;
  expect((await bring()).ok).toBe(true);
  await context.close();
  await hub.close();
});
