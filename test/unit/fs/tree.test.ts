import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { directoryTree, listTree } from '../../../src/fs/tree.ts';
import { collect } from '../../support/contents.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

it('lists files and links, sorted, and follows no link', async () => {
  await using place = await temporaryDirectory();
  await mkdir(join(place.path, 'b/c'), { recursive: true });
  await writeFile(join(place.path, 'b/c/größe'), 'abc');
  await writeFile(join(place.path, 'a'), '');
  await symlink('c', join(place.path, 'b/d'));
  await symlink('/no/such/place', join(place.path, 'z'));

  expect(await listTree(place.path)).toEqual([
    { path: 'a', size: 0 },
    { path: 'b/c/größe', size: 3 },
    { path: 'b/d', link: 'c' },
    { path: 'z', link: '/no/such/place' },
  ]);
});

it('leaves out files that an interrupted run left, and nothing else of that name', async () => {
  await using place = await temporaryDirectory();
  await mkdir(join(place.path, 'folder.partial'));
  await writeFile(join(place.path, 'folder.partial/a'), '');
  await writeFile(join(place.path, 'b.partial'), '');
  await symlink('folder.partial/a', join(place.path, 'link.partial'));

  expect((await listTree(place.path)).map(({ path }) => path)).toEqual(['folder.partial/a', 'link.partial']);
});

it('finds files by their path', async () => {
  await using place = await temporaryDirectory();
  await mkdir(join(place.path, 'a'));
  await writeFile(join(place.path, 'a/b'), 'abc');
  const tree = directoryTree(place.path);

  const found = await tree.file('a/b');

  expect(found?.size).toBe(3);
  expect(found && (await collect(found.open(1))).toString()).toBe('bc');
  expect(await tree.file('a')).toBeUndefined();
  expect(await tree.file('a/c')).toBeUndefined();
  expect(await codeOf(tree.file('a/b/c'))).toBe('E_PATH');
});
