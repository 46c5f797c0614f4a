import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type Batch, type BatchResult, VolumeThread } from '../../../src/bundle/writing/volume-thread.ts';
import { sha256 } from '../../../src/core/digest.ts';
import { openDirect } from '../../../src/fs/direct.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const mebi = 1024 * 1024;
const header = Buffer.alloc(512, 'header');

/** A volume of one file, and how it was written. */
interface Made {
  result: BatchResult;
  written: Buffer;
  wanted: Buffer;
}

/** @param openBeside what is opened to write past the page cache */
async function make(size: number, openBeside: (path: string) => Promise<FileHandle | undefined>): Promise<Made> {
  await using place = await temporaryDirectory();
  const [from, path] = [join(place.path, 'from'), join(place.path, 'volume')];
  const content = seededBytes('content', size);
  await writeFile(from, content);
  const file = await open(path, 'w');
  const direct = await openBeside(path);
  try {
    await using thread = new VolumeThread(new AbortController().signal, () => {});
    const hashes = [{ id: 1, algorithm: 'sha256' as const, total: size, last: true }];
    const batch: Batch = {
      volume: { file: file.fd, direct: direct?.fd },
      literal: Buffer.concat([header, header]),
      steps: [{ literal: 512, range: { path: from, start: 0, size, hashes } }, { literal: 512 }],
      ends: true,
    };
    const result = await thread.run(batch);
    return { result, written: await readFile(path), wanted: Buffer.concat([header, content, header]) };
  } finally {
    await direct?.close();
    await file.close();
  }
}

/** Whether the volume has the bytes, and the hashes are theirs. */
function isWhole({ result, written, wanted }: Made): boolean {
  return (
    written.equals(wanted) &&
    `sha256:${result.volume}` === sha256(wanted) &&
    `sha256:${result.hexes.get(1)}` === sha256(wanted.subarray(512, -512))
  );
}

it.each([0, 64 * 1024 - 1024, mebi - 1024, mebi, 3 * mebi + 777])(
  'a volume with a file of %i bytes is the same past the page cache, where that is possible, and through it',
  async (size) => {
    expect(isWhole(await make(size, openDirect))).toBe(true);
    expect(isWhole(await make(size, async () => undefined))).toBe(true);
  },
);

it('what is written past the page cache goes to the file that is opened for it, but for the last bytes', async () => {
  await using place = await temporaryDirectory();
  const beside = join(place.path, 'beside');
  const { written, wanted } = await make(2 * mebi, async () => open(beside, 'w'));

  expect((await readFile(beside)).equals(wanted.subarray(0, 2 * mebi))).toBe(true);
  expect(written.subarray(2 * mebi).equals(wanted.subarray(2 * mebi))).toBe(true);
});

// That file takes a number only, and answers as a file system does that cannot write past the page cache.
it.runIf(process.platform === 'linux')('a refusal to write past the page cache is no failure', async () => {
  expect(isWhole(await make(2 * mebi, async () => open('/proc/self/oom_score_adj', 'w')))).toBe(true);
});

it.runIf(process.platform === 'linux')('a medium that is full is one past the page cache too', async () => {
  await expect(make(2 * mebi, async () => open('/dev/full', 'w'))).rejects.toMatchObject({ code: 'ENOSPC' });
});

it('nothing is opened past the page cache that does not exist, or lies in no such file system', async () => {
  expect(await openDirect('/dev/null')).toBeUndefined();
  expect(await openDirect('/nowhere/at/all')).toBeUndefined();
});
