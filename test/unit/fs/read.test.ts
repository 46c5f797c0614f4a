import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Extent, fileContent } from '../../../src/fs/read.ts';
import { collect } from '../../support/contents.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const mebi = 1024 * 1024;
const bytes = Buffer.from(seededBytes('read', 2 * mebi + 5));

/** Three pieces of a file, out of their order, with an empty one between. */
async function withExtents(work: (extents: Extent[], whole: Buffer) => Promise<void>): Promise<void> {
  await using place = await temporaryDirectory();
  const directory = place.path;
  const path = join(directory, 'file');
  await writeFile(path, bytes);
  const extents = [
    { path, offset: mebi, size: mebi + 5 },
    { path, offset: 7, size: 0 },
    { path, offset: 0, size: 100 },
  ];
  await work(extents, Buffer.concat([bytes.subarray(mebi), bytes.subarray(0, 100)]));
}

describe.each([
  ['that is quick', Number.POSITIVE_INFINITY],
  ['that is slow', Number.NEGATIVE_INFINITY],
])('of a medium %s', (_, patienceMs) => {
  it('reads pieces of files one after the other', async () => {
    await withExtents(async (extents, whole) => {
      const content = fileContent(extents, patienceMs);

      expect(content.size).toBe(whole.length);
      expect((await collect(content.open(0))).equals(whole)).toBe(true);
    });
  });

  it.each([1, mebi, mebi + 4, mebi + 5, mebi + 6, mebi + 104, mebi + 105])('begins at byte %d', async (offset) => {
    await withExtents(async (extents, whole) => {
      expect((await collect(fileContent(extents, patienceMs).open(offset))).equals(whole.subarray(offset))).toBe(true);
    });
  });

  it('reads no byte behind the end that is asked for', async () => {
    await withExtents(async (extents, whole) => {
      const content = fileContent(extents, patienceMs);
      const inSecond = mebi + 50;
      const read = async (from: number, to: number): Promise<boolean> =>
        (await collect(content.open(from, undefined, to))).equals(whole.subarray(from, to));
      expect(await read(3, 10)).toBe(true);
      expect(await read(mebi, inSecond)).toBe(true);
      expect(await read(0, whole.length + 9)).toBe(true);
    });
  });

  it('tells when a file ends early', async () => {
    await withExtents(async (extents) => {
      const [first] = extents;
      const long = extents.map((extent) => ({ ...extent, size: extent === first ? extent.size + 1 : extent.size }));

      expect(await codeOf(collect(fileContent(long, patienceMs).open(0)))).toBe('E_SIZE_MISMATCH');
    });
  });

  it('stops when it is interrupted', async () => {
    await withExtents(async (extents) => {
      const controller = new AbortController();
      const reading = async (): Promise<void> => {
        for await (const chunk of fileContent(extents, patienceMs).open(0, controller.signal))
          if (chunk.length > 0) controller.abort();
      };

      expect(await codeOf(reading())).toBe('E_ABORTED');
    });
  });

  it('lets each chunk be kept', async () => {
    await withExtents(async (extents, whole) => {
      const kept: Uint8Array[] = [];
      for await (const chunk of fileContent(extents, patienceMs).open(0)) kept.push(chunk);

      expect(Buffer.concat(kept).equals(whole)).toBe(true);
    });
  });
});

it('opens nothing before it is read', async () => {
  const content = fileContent([{ path: '/no/such/file', offset: 0, size: 3 }]);

  expect(content.size).toBe(3);
  expect(await codeOf(collect(content.open(0)))).toBe('E_NOT_FOUND');
});
