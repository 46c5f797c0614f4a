import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tarHeader } from '../../../src/bundle/writing/tar-header.ts';
import type { FileTree } from '../../../src/core/ports.ts';
import { tarTree } from '../../../src/fs/tar-tree.ts';
import { collect } from '../../support/contents.ts';
import { expectPlainPrototype, expectTame, holds } from '../../support/tame.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { type TarFile, tarMember, tarOf } from '../../support/tar.ts';

/** Whatever an archive holds, its reader ends with an error of ours or with bytes of the archive, and writes nothing. */

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
beforeAll(async () => {
  place = await temporaryDirectory();
});
afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

const names = [
  'a',
  'b/c',
  '../a',
  '/etc/passwd',
  '__proto__',
  'constructor',
  'a/../b',
  '.',
  '',
  'x\u001b[2Jy',
  'größe',
];
const name = fc.oneof(fc.constantFrom(...names), fc.string({ maxLength: 90 }));

/** What the reader is asked for: names as they are written, and as they may be found. */
const asked = [...names, '__proto__/a', 'toString', 'etc/passwd', 'hasOwnProperty'];

async function tame<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    expectTame(error, ['E_CORRUPT', 'E_USAGE']);
    return undefined;
  }
}

/** Undefined when the archive was refused. */
async function readTamely(bytes: Uint8Array): Promise<FileTree | undefined> {
  const path = join(place.path, 'a.tar');
  await writeFile(path, bytes);
  const tree = await tame(() => tarTree(path, 'a.tar'));
  for (const wanted of tree ? asked : []) {
    const content = await tame(async () => tree?.file(wanted));
    if (!content) continue;
    holds(content.size <= bytes.length, `\`${wanted}\` is larger than the archive`);
    holds((await collect(content.open(0))).length === content.size, `\`${wanted}\` has not the size that it says`);
  }
  holds((await readdir(place.path)).join() === 'a.tar', 'something was written');
  expectPlainPrototype();
  return tree;
}

const bytesOf = fc.uint8Array({ maxLength: 1200 });
const paxRecord = fc
  .tuple(
    fc.constantFrom('path', 'linkpath', 'size', 'GNU.sparse.major', '__proto__', 'comment'),
    fc.oneof(name, fc.constantFrom('-1', '1e9', '99999999999999999999', '0x10', '512', '')),
    fc.integer({ min: -3, max: 3 }),
  )
  .map(([key, value, off]) => {
    const rest = ` ${key}=${value}\n`;
    const length = Buffer.byteLength(rest);
    return Buffer.from(`${length + String(length + 2).length + (off === 3 ? 1 : 0)}${rest}`);
  });
const size = fc.oneof(fc.nat(3000), fc.constantFrom(0, 511, 512, 8 ** 11 - 1, 8 ** 11, 2 ** 53 - 1, 2 ** 62));
const type = fc.oneof(
  fc.constantFrom('0', '1', '2', '3', '5', '6', '7', 'x', 'g', 'L', 'K', 'S', 'D', 'V', '\0'),
  fc.string({ minLength: 1, maxLength: 1 }),
);
const ascii = (text: string): string => text.replace(/[^\u0020-\u007e]/g, '?').slice(0, 100);
const member = fc
  .record({
    path: name.map(ascii),
    bytes: fc.oneof(bytesOf, paxRecord),
    type: type.map((each) => Buffer.from(each).toString('latin1').slice(0, 1)),
    link: name.map(ascii),
    size: fc.option(size, { nil: undefined }),
  })
  .map(({ size: stated, ...rest }): TarFile => ({ ...rest, ...(stated === undefined ? {} : { size: stated }) }));

/** Bytes of the archive that are changed afterwards; those of a header may get a checksum that fits again. */
const change = fc.record({ at: fc.nat(), byte: fc.nat(255), mends: fc.boolean() });

function changed(archive: Buffer, changes: readonly { at: number; byte: number; mends: boolean }[]): Buffer {
  for (const { at, byte, mends } of changes) {
    if (archive.length === 0) break;
    const position = at % archive.length;
    archive[position] = byte;
    const block = archive.subarray(position - (position % 512)).subarray(0, 512);
    if (!mends || block.length < 512) continue;
    block.fill(0x20, 148, 156);
    block.write(
      `${block
        .reduce((sum, each) => sum + each, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
      'latin1',
    );
  }
  return archive;
}

describe('any archive', () => {
  it('of members that say anything is read, or refused with an error of ours', async () => {
    const outcomes = new Set<boolean>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(member, { maxLength: 8 }),
        fc.array(change, { maxLength: 4 }),
        fc.nat(),
        async (members, changes, cut) => {
          const archive = changed(Buffer.from(tarOf(members)), changes);
          outcomes.add(
            (await readTamely(cut % 3 === 0 ? archive.subarray(0, cut % archive.length) : archive)) !== undefined,
          );
        },
      ),
      { seed: 6, numRuns: 250, interruptAfterTimeLimit: 10_000 },
    );
    // Both must come up, or the test says nothing.
    expect(outcomes).toEqual(new Set([true, false]));
  });

  it('of bytes without sense is refused with an error of ours', async () => {
    const read: unknown[] = [];
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2000 }), async (bytes) => {
        if (bytes.some((byte) => byte !== 0)) read.push(await readTamely(bytes));
      }),
      { seed: 7, numRuns: 60, interruptAfterTimeLimit: 10_000 },
    );
    expect(read.filter((tree) => tree !== undefined)).toEqual([]);
  });

  it('of plain files gives back each of them', async () => {
    const file = fc.record({ path: fc.stringMatching(/^[a-z]{1,8}(?:\/[a-z]{1,8}){0,3}$/), bytes: bytesOf });
    const files = fc.uniqueArray(file, { selector: ({ path }) => path, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(files, async (list) => {
        const tree = await readTamely(tarOf(list));
        for (const { path, bytes } of list) {
          const content = await tree?.file(path);
          expect(content && Buffer.from(await collect(content.open(0)))).toEqual(Buffer.from(bytes));
        }
      }),
      { seed: 8, numRuns: 40, interruptAfterTimeLimit: 10_000 },
    );
  });
});

describe('an archive with members of every kind', () => {
  const long = `${'directory/'.repeat(20)}file`;
  const whole = Buffer.concat([
    tarMember({ path: 'a', bytes: Buffer.from('x'.repeat(1500)) }),
    tarHeader({ path: long, size: 5 }),
    Buffer.from('pax..'.padEnd(512, '\0')),
    tarMember({ path: '././@LongLink', type: 'L', bytes: Buffer.from('constructor\0') }),
    tarMember({ path: 'cut', bytes: Buffer.from('gnu') }),
    tarMember({ path: 'b/c', bytes: Buffer.alloc(0), type: '2', link: '../a' }),
    Buffer.alloc(1024),
  ]);

  it('is read or refused wherever it ends: at every block, and in the middle of each', async () => {
    const outcomes = new Set<boolean>();
    for (let end = 0; end <= whole.length; end += 256) {
      const tree = await readTamely(whole.subarray(0, end));
      outcomes.add(tree !== undefined);
      // What is given of a cut archive is right: no member is shorter than it was.
      const first = await tree?.file('a');
      holds(!first || (await collect(first.open(0))).toString() === 'x'.repeat(1500), `it is short, cut at ${end}`);
    }
    expect(outcomes).toEqual(new Set([true, false]));
  });

  it('is read or refused whichever of its blocks is left out, doubled or zero', async () => {
    const blocks = Array.from({ length: whole.length / 512 }, (_, index) =>
      whole.subarray(index * 512, index * 512 + 512),
    );
    const outcomes = new Set<boolean>();
    for (const [index, block] of blocks.entries())
      for (const instead of [[], [block, block], [Buffer.alloc(512)], [Buffer.alloc(512, 0xff)]])
        outcomes.add((await readTamely(Buffer.concat(blocks.toSpliced(index, 1, ...instead)))) !== undefined);
    expect(outcomes).toEqual(new Set([true, false]));
  });
});
