import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lockForReading, type LockOwner, lockPlace } from '../../../src/fs/lock.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

const alive: LockOwner = { pid: 10, isRunning: () => true };
const dead = (pid: number): LockOwner => ({ pid, isRunning: () => false });
const patient = { waitMs: 20_000 };

it('keeps others out until it is disposed of, and leaves nothing', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'lock');
  const held = await lockPlace(path, 'x', alive);
  expect(await codeOf(lockPlace(path, 'x', { ...alive, pid: 11 }))).toBe('E_REFUSED');
  expect(await codeOf(lockPlace(path, 'x', alive))).toBe('E_REFUSED');
  await held[Symbol.asyncDispose]();
  await (await lockPlace(path, 'x', { ...alive, pid: 11 }))[Symbol.asyncDispose]();
  expect(await readdir(place.path)).toEqual([]);
});

it('is waited for', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'lock');
  const held = await lockPlace(path, 'x', alive);
  const next = lockPlace(path, 'x', { ...alive, pid: 11 }, patient);
  await held[Symbol.asyncDispose]();
  await (await next)[Symbol.asyncDispose]();
  expect(await readdir(place.path)).toEqual([]);
});

it('that a dead process left is taken over by exactly one of many at a time', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'lock');
  await lockPlace(path, 'x', dead(99));
  // The others run, the one that left the lock does not.
  const owner = (pid: number): LockOwner => ({ pid, isRunning: (other) => other !== 99 });
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const lock = await lockPlace(path, 'x', owner(index + 1), patient);
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
      await lock[Symbol.asyncDispose]();
    }),
  );
  expect(most).toBe(1);
  expect(await readdir(place.path)).toEqual([]);
});

it('that another one is just taking over is left to that one', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'lock');
  await lockPlace(path, 'x', dead(99));
  const left = await readFile(path, 'utf8');
  const mark = `${path}.${(JSON.parse(left) as { id: string }).id}.partial`;
  await writeFile(mark, '');

  const taken = lockPlace(path, 'x', dead(1), patient);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(await readFile(path, 'utf8')).toBe(left);
  await rm(mark);

  await (await taken)[Symbol.asyncDispose]();
  expect(await readdir(place.path)).toEqual([]);
});

it('of an earlier run with the same process id is taken over', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'lock');
  await lockPlace(path, 'x', alive);
  const left = JSON.parse(await readFile(path, 'utf8')) as object;
  await writeFile(path, JSON.stringify({ ...left, run: 'another' }));
  await (await lockPlace(path, 'x', alive))[Symbol.asyncDispose]();
  expect(await readdir(place.path)).toEqual([]);
});

it('of a process on another host is never taken over', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'lock');
  await writeFile(path, JSON.stringify({ pid: 10, host: 'elsewhere', run: 'x', id: 'y' }));
  expect(await codeOf(lockPlace(path, 'x', dead(1)))).toBe('E_REFUSED');
});

it.each([60_000, 7500])(
  'that was never written to is taken over when it is old, not refused: %i ms old',
  async (age) => {
    await using place = await temporaryDirectory();
    const path = join(place.path, 'lock');
    await writeFile(path, '');
    const made = new Date(Date.now() - age);
    await utimes(path, made, made);
    await (await lockPlace(path, 'x', dead(1)))[Symbol.asyncDispose]();
    expect(await readdir(place.path)).toEqual([]);
  },
);

it('is taken over though one died while taking it over', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'lock');
  await lockPlace(path, 'x', dead(99));
  const { id } = JSON.parse(await readFile(path, 'utf8')) as { id: string };
  const mark = `${path}.${id}.partial`;
  await writeFile(mark, '');
  await utimes(mark, new Date(0), new Date(0));
  await (await lockPlace(path, 'x', dead(1)))[Symbol.asyncDispose]();
  expect(await readdir(place.path)).toEqual([]);
});

describe('for reading', () => {
  const alone = { readers: true };

  it('is held by several at once, keeps out who writes, and leaves nothing', async () => {
    await using place = await temporaryDirectory();
    const path = join(place.path, 'lock');
    const first = await lockForReading(path, 'x', alive);
    const second = await lockForReading(path, 'x', { ...alive, pid: 11 });
    expect(await codeOf(lockPlace(path, 'x', alive, alone))).toBe('E_REFUSED');
    await first?.[Symbol.asyncDispose]();
    expect(await codeOf(lockPlace(path, 'x', alive, alone))).toBe('E_REFUSED');
    await second?.[Symbol.asyncDispose]();
    const writer = await lockPlace(path, 'x', alive, alone);
    expect(await codeOf(lockForReading(path, 'x', alive))).toBe('E_REFUSED');
    await writer[Symbol.asyncDispose]();
    expect(await readdir(place.path)).toEqual([]);
  });

  it('never lets one read while another writes, whoever comes first', async () => {
    await using place = await temporaryDirectory();
    const path = join(place.path, 'lock');
    let [reading, writing, together] = [0, 0, 0];
    const work = async (reads: boolean): Promise<void> => {
      const lock = await (reads ? lockForReading(path, 'x', alive) : lockPlace(path, 'x', alive, alone));
      if (reads) reading += 1;
      else writing += 1;
      await new Promise((resolve) => setImmediate(resolve));
      if (writing > 1 || (writing > 0 && reading > 0)) together += 1;
      if (reads) reading -= 1;
      else writing -= 1;
      await lock?.[Symbol.asyncDispose]();
    };
    let done = 0;
    const many = Array.from({ length: 200 }, (_, index) => work(index % 3 > 0).then(() => (done += 1)));
    await Promise.allSettled(many);
    expect([together, done > 0]).toEqual([0, true]);
    expect(await readdir(place.path)).toEqual([]);
  });

  it('forgets who died while reading, and while writing', async () => {
    await using place = await temporaryDirectory();
    const path = join(place.path, 'lock');
    await lockForReading(path, 'x', dead(99));
    await (await lockPlace(path, 'x', dead(1), alone))[Symbol.asyncDispose]();
    expect(await readdir(place.path)).toEqual([]);
    await lockPlace(path, 'x', dead(99));
    expect(await lockForReading(path, 'x', dead(1))).toBeDefined();
    await rm(path);
    await (await lockForReading(path, 'x', { pid: 2, isRunning: () => false }))?.[Symbol.asyncDispose]();
    expect(await readdir(place.path)).toEqual([]);
  });

  it('goes without where there is no such place or no room, and makes nothing there', async () => {
    await using place = await temporaryDirectory();
    expect(await lockForReading(join(place.path, 'none/lock'), 'x', alive)).toBeUndefined();
    expect(await readdir(place.path)).toEqual([]);
    await writeFile(join(place.path, 'file'), '');
    expect(await lockForReading(join(place.path, 'file/lock'), 'x', alive)).toBeUndefined();
  });
});
