import { mkdir, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { chooseMedia } from '../../../src/commands/bundle/media.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

const mebi = 1024 * 1024;
const volumes = ['v1', 'v2', 'v3', 'v4'].map((name) => ({ name, size: mebi }));
let root: string;

beforeEach(async () => {
  const place = await temporaryDirectory();
  root = place.path;
  for (const name of ['a', 'b']) await mkdir(join(root, name));
  return async () => place[Symbol.asyncDispose]();
});

const directories = (...names: string[]): string[] => names.map((name) => join(root, name));
const placed = (media: ReadonlyMap<string, string>): string[] =>
  volumes.map(({ name }) => (media.get(name) ?? '').slice(root.length + 1));

it('fills one medium after the other, and keeps room on each for what goes to all', async () => {
  const media = await chooseMedia(directories('a', 'b'), volumes, { mediumSize: 3 * mebi, besides: mebi });

  expect(placed(media)).toEqual(['a', 'a', 'b', 'b']);
});

it('leaves what an earlier run has written where it is, and goes on with the rest', async () => {
  const there = new Map([
    ['v2', join(root, 'b')],
    ['v1', join(root, 'a')],
  ]);

  const media = await chooseMedia(directories('a', 'b'), volumes, { mediumSize: 2 * mebi, besides: 0, there });

  expect(placed(media)).toEqual(['a', 'b', 'a', 'b']);
});

it('writes anew what stands on a medium that has no room for the rest of the bundle', async () => {
  const there = new Map(volumes.map(({ name }) => [name, join(root, 'a')]));

  const media = await chooseMedia(directories('a', 'b'), volumes, { mediumSize: 3 * mebi, besides: mebi, there });

  expect(placed(media)).toEqual(['a', 'a', 'b', 'b']);
});

it('counts what an earlier run takes as free, as it stays or is cleared away', async () => {
  await writeFile(join(root, 'a/v1'), Buffer.alloc(mebi));
  const huge = [{ name: 'v1', size: Number.MAX_SAFE_INTEGER }];

  expect(await codeOf(chooseMedia(directories('a'), huge, { besides: 0 }))).toBe('E_NO_SPACE');
  expect(placed(await chooseMedia(directories('a'), volumes, { besides: 0 }))).toEqual(['a', 'a', 'a', 'a']);
});

it('counts the room of a disk once, however many of the directories lie on it', async () => {
  const { bavail, bsize } = await statfs(root);
  const most = Math.floor(0.75 * bavail * bsize);
  const large = ['v1', 'v2'].map((name) => ({ name, size: most }));

  expect((await chooseMedia(directories('a', 'b'), large.slice(1), { besides: 0 })).size).toBe(1);
  expect(await codeOf(chooseMedia(directories('a', 'b'), large, { besides: 0 }))).toBe('E_NO_SPACE');
});
