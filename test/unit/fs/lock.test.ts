import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type LockOwner, lockPlace } from '../../../src/fs/lock.ts';
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

it('that was never written to is taken over when it is old', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'lock');
  await writeFile(path, '');
  expect(await codeOf(lockPlace(path, 'x', dead(1)))).toBe('E_REFUSED');
  await utimes(path, new Date(0), new Date(0));
  await (await lockPlace(path, 'x', dead(1)))[Symbol.asyncDispose]();
  expect(await readdir(place.path)).toEqual([]);
});

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
