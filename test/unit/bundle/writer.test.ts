import { renameSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { VolumeJournal } from '../../../src/bundle/writing/journal.ts';
import { chainsOf, planVolumes } from '../../../src/bundle/writing/layout.ts';
import { midwayError } from '../../../src/bundle/medium-errors.ts';
import { type WriteOptions, type WrittenVolumes, writeVolumes } from '../../../src/bundle/writing/writer.ts';
import { checksumOf, sha256 } from '../../../src/core/digest.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

/** Files that are alone in a volume, one that goes over four, and small ones behind it. */
const sizes: Record<string, number> = { a: 60_000, b: 60_000, c: 200_000, d: 500, e: 0, f: 60_000, g: 60_000 };
const files = Object.entries(sizes).map(([path, size]) => ({
  path,
  size,
  checksum: checksumOf(sha256(seededBytes(path, size))),
}));
const plans = planVolumes('v', files, 64 * 1024);
let root: string;

beforeEach(async () => {
  const place = await temporaryDirectory();
  root = place.path;
  for (const [path, size] of Object.entries(sizes)) await writeFile(join(root, path), seededBytes(path, size));
  return async () => place[Symbol.asyncDispose]();
});

async function write(to: string, options: Partial<WriteOptions> = {}): Promise<WrittenVolumes> {
  await mkdir(join(root, to), { recursive: true });
  return writeVolumes((name) => join(root, to, name), plans, root, { report: () => {}, ...options });
}

async function openJournal(): Promise<VolumeJournal> {
  const journal = await VolumeJournal.open(join(root, 'journal'), sha256('the plan'));
  if (!journal) throw new Error('there is no journal');
  return journal;
}

it('volumes with parts of one file are a chain, the others stand alone', () => {
  const names = plans.map(({ name }) => name);
  const chains = chainsOf(plans).map((chain) => chain.map(({ name }) => name));

  expect(chains).toEqual([[names[0]], [names[1]], names.slice(2, -2), [names.at(-2)], [names.at(-1)]]);
  expect(chains[2]?.length).toBe(4);
});

it('several volumes at a time have the same bytes as one after the other', async () => {
  const inOrder = await write('one');
  const atOnce = await write('many', { atOnce: 3 });

  expect(atOnce).toEqual(inOrder);
  expect(inOrder.volumes).toHaveLength(plans.length);
  for (const { name, digest } of inOrder.volumes) {
    const bytes = await readFile(join(root, 'many', name));
    expect(sha256(bytes)).toBe(digest);
    expect(bytes.equals(await readFile(join(root, 'one', name)))).toBe(true);
  }
});

it('a run that was broken off with a gap writes the gap only', async () => {
  const whole = await write('one', { journal: await openJournal(), atOnce: 3 });
  const gone = plans[1]?.name ?? '';
  await rm(join(root, 'one', gone));
  const journal = await openJournal();
  await journal.forget(new Set([gone]));
  for (const { name } of plans) if (name !== gone) await writeFile(join(root, 'one', name), 'untouched');

  expect(await write('one', { journal, atOnce: 3 })).toEqual(whole);

  const found = await Promise.all(plans.map(async ({ name }) => readFile(join(root, 'one', name))));
  expect(found.filter((bytes) => !bytes.equals(Buffer.from('untouched')))).toHaveLength(1);
  expect((await openJournal()).done).toHaveLength(plans.length);
});

it('a damaged file stops all, and no volume that holds it gets its name', async () => {
  const bytes = seededBytes('f', sizes['f'] ?? 0);
  bytes[7] = (bytes[7] ?? 0) ^ 1;
  await writeFile(join(root, 'f'), bytes);

  expect(await codeOf(write('out', { atOnce: 2 }))).toBe('E_DIGEST_MISMATCH');

  expect(await readdir(join(root, 'out'))).not.toContain(plans.at(-2)?.name);
});

it.each([
  ['E_SIZE_MISMATCH', async (): Promise<void> => writeFile(join(root, 'c'), seededBytes('c', 100_000))],
  ['E_NOT_FOUND', async (): Promise<void> => rm(join(root, 'c'))],
])('%s is told of a file that was whole before', async (code, spoil) => {
  await spoil();

  expect(await codeOf(write('out', { atOnce: 2 }))).toBe(code);
});

it('a medium that is gone in the middle is said to be gone, and not that a file was not found', async () => {
  let isGone = false;
  const report = (): void => {
    if (!isGone) renameSync(join(root, 'out'), join(root, 'pulled'));
    isGone = true;
  };

  expect(await codeOf(write('out', { report }))).toBe('E_MEDIUM');
  expect(isGone).toBe(true);
});

it.each([
  ['EROFS', 'E_MEDIUM'],
  ['EIO', 'E_MEDIUM'],
  ['EACCES', 'E_REFUSED'],
])('a medium that could be written to and answers %s is told as %s', (code, told) => {
  const error = Object.assign(new Error(code), { code, syscall: 'write' });

  expect(midwayError(error, join(root, 'out', 'b.0001.tar')).code).toBe(told);
});

it('an interruption stops it', async () => {
  expect(await codeOf(write('out', { atOnce: 2, signal: AbortSignal.abort() }))).toBe('E_ABORTED');
  expect((await readdir(join(root, 'out'))).filter((name) => name.endsWith('.tar'))).toEqual([]);
});

it('tells of each byte of a file once, also when a part of the volumes was there', async () => {
  const total = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  const journal = await openJournal();
  for (const _ of ['first', 'again']) {
    let told = 0;
    const report: WriteOptions['report'] = (event) => void (told += event.type === 'bytes' ? event.bytes : 0);

    await write('out', { journal, atOnce: 2, report });

    expect(told).toBe(total);
  }
});
