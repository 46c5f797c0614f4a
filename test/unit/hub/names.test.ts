import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkNames, oddPaths, refuseDoubles } from '../../../src/hub/names.ts';
import { codeOf, codeOfCall } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(() => place[Symbol.asyncDispose]());

const plain = ['config.json', '1_Pooling/config.json', 'model-00001-of-00002.safetensors', 'a/b/c', '.gitattributes'];

describe('a path is odd', () => {
  it('not when any file system has it', () => {
    expect(oddPaths(plain)).toEqual([]);
  });

  it.each([
    'a:b.txt',
    'what?.json',
    'x/CON',
    'aux.txt',
    'Lpt1.log/x',
    'dot.',
    'space ',
    'dir. /x',
    'größe.txt',
    `${'d/'.repeat(50)}f`,
    'n'.repeat(120),
  ])('when one has not: %s', (path) => {
    expect(oddPaths([...plain, path])).toEqual([path]);
  });

  it.each([[['README.md', 'readme.md']], [['Q/x', 'q/y']], [['gr\u00f6\u00dfe', 'gro\u0308\u00dfe']]])(
    'when one takes it for another: %j',
    (paths) => {
      expect(oddPaths([...plain, ...paths])).toEqual(paths);
    },
  );
});

describe('names are tried', () => {
  it('where all of them stand, and nothing is left of it', async () => {
    await checkNames(join(place.path, 'probe'), ['README.md', 'readme.md', 'größe', 'a:b?', 'A/x', 'a/y'], 'org/name');
    expect(await readdir(place.path)).toEqual([]);
  });

  it('and refused when the file system cannot have one, and nothing is left of it', async () => {
    const deep = Array.from({ length: 18 }, () => 'd'.repeat(240)).join('/');
    expect(await codeOf(checkNames(join(place.path, 'probe'), ['x:y', deep], 'org/name'))).toBe('E_REFUSED');
    expect(await readdir(place.path)).toEqual([]);
  });
});

describe('a listing', () => {
  it('may have files and folders', () => {
    expect(() => refuseDoubles(['a', 'b/c', 'b/d', 'b.c'], 'org/name')).not.toThrow();
  });

  it.each([[['a', 'b', 'a']], [['a', 'a/b']], [['x/y/z', 'x/y']]])('that cannot stand is refused: %j', (paths) => {
    expect(codeOfCall(() => refuseDoubles(paths, 'org/name'))).toBe('E_CORRUPT');
  });
});
