import { mkdir, readdir, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { startHub, type TestHub } from '../support/hub.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { runCommand, tryCommand } from './command.ts';

/** A store on a disk of 2 MiB. Mounting needs root. */

const page = 4096;
const small = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`f${index}`, `${index}`]));
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let disk: string;
let hub: TestHub;

beforeAll(async () => {
  place = await temporaryDirectory();
  disk = join(place.path, 'disk');
  await mkdir(disk);
  hub = await startHub();
  hub.addRepo({ id: 'org/big', files: { 'a.onnx': seededBytes('a', 1_500_000), 'b.txt': 'b' } });
  hub.addRepo({ id: 'org/small', files: small });
});

beforeEach(async () => {
  await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk]);
  return async () => void (await tryCommand('umount', [disk]));
});

afterAll(async () => {
  await hub?.close();
  await place?.[Symbol.asyncDispose]();
});

const snapshot = (...args: string[]): Promise<CliResult> =>
  runCli(['snapshot', ...args, '--store', 'disk/store', '--retries', '0'], {
    cwd: place.path,
    env: { HF_ENDPOINT: hub.url },
  });

/** Takes all that is free but for some bytes. */
async function fill(path: string, left: number): Promise<void> {
  const { bavail, bsize } = await statfs(disk);
  await writeFile(path, Buffer.alloc(bavail * bsize - left, 1));
}

it('a cache of which there is no space for a copy is adopted all the same, as second names', async () => {
  expect(await snapshot('org/big')).toMatchObject({ code: 0 });
  await rename(join(disk, 'store/hub'), join(disk, 'other'));
  await rm(join(disk, 'store'), { recursive: true });

  expect(await snapshot('org/big')).toMatchObject({ code: 8 });
  const adopted = await snapshot('org/big', '--adopt', 'disk/other');
  expect(adopted, adopted.stderr).toMatchObject({ code: 0 });
  expect(await snapshot('--offline')).toMatchObject({ code: 0 });
});

it('a disk that becomes full in the middle ends the run, no ref says that it was whole, and the next run goes on', async () => {
  // Small files take more than they hold, which no sum of sizes tells.
  await fill(join(disk, 'filler'), 120 * page);
  const full = await snapshot('org/small');
  expect(full, full.stderr).toMatchObject({ code: 8, stderr: expect.stringMatching(/no space left/) as string });
  expect((await filesBelow(disk)).filter((path) => path.includes('/refs/'))).toEqual([]);
  const before = hub.server.count(/resolve\//);

  await rm(join(disk, 'filler'));
  expect(await snapshot('org/small')).toMatchObject({ code: 0 });
  expect(hub.server.count(/resolve\//) - before).toBeLessThan(200);
  expect(await snapshot('--offline')).toMatchObject({ code: 0 });
});

it('a disk on which not even a lock can be written is refused, keeps nothing of the run, and can be checked', async () => {
  expect(await snapshot('org/big')).toMatchObject({ code: 0 });
  const before = await filesBelow(disk);
  await fill(join(disk, 'filler'), 0);

  for (const repo of ['org/big', 'org/small']) {
    const full = await snapshot(repo);
    expect(full, full.stderr).toMatchObject({ code: 8, stderr: expect.stringMatching(/no space left/) as string });
  }
  expect((await filesBelow(disk)).filter((path) => path !== 'filler')).toEqual(before);
  expect(await snapshot('--offline')).toMatchObject({ code: 0 });
  await rm(join(disk, 'filler'));
  expect(await snapshot('org/big')).toMatchObject({ code: 0 });
  expect(await readdir(join(disk, 'store'))).not.toContain('.sie-mirror.lock');
});
