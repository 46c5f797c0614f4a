import { describe, expect, it } from 'vitest';
import { checkRelativePath, linkTarget } from '../../../src/core/path.ts';
import { codeOfCall } from '../../support/failures.ts';

describe('checkRelativePath', () => {
  it.each(['a', 'a/b', '.gitattributes', 'a..b/c', '...', 'größe + 量.txt', '__proto__', 'a b/ c', 'x'.repeat(255)])(
    'takes %j',
    (path) => {
      expect(checkRelativePath(path, 'x')).toBe(path);
    },
  );

  it.each([
    '',
    '/',
    '/etc/passwd',
    '//host/share',
    '..',
    '../a',
    'a/../b',
    'a/..',
    '.',
    './a',
    'a/./b',
    'a//b',
    'a/',
    'a\\b',
    '..\\a',
    'C:/a',
    'c:a',
    'a/c:b',
    'a\0b',
    'a\nb',
    '\u001b[31m',
    'a\u007f',
    '\ud800',
    'a/\udc00b',
    'x'.repeat(256),
    'ü'.repeat(128),
    'a/'.repeat(2048) + 'a',
  ])('refuses %j', (path) => {
    expect(codeOfCall(() => checkRelativePath(path, 'x'))).toBe('E_CORRUPT');
  });
});

describe('linkTarget', () => {
  it.each([
    ['a/b', 'c', 'a/c'],
    ['a/b', '../c', 'c'],
    ['snapshots/1/x/y', '../../../blobs/z', 'blobs/z'],
    ['a', 'b/c', 'b/c'],
    ['a/b', './c', 'a/c'],
    ['a/b', 'c//d', 'a/c/d'],
  ])('%s -> %s is %s', (path, link, end) => {
    expect(linkTarget(path, link)).toBe(end);
  });

  it.each([
    ['a', '..'],
    ['a', '../b'],
    ['a/b', '../../c'],
    ['a/b', '/etc/passwd'],
    ['a/b', ''],
    ['a', '.'],
    ['a/b', '..'],
    // What `c` is decides where this leads: with a link there, out of the tree.
    ['a/b', 'c/../d'],
  ])('%s -> %s leads nowhere that is safe', (path, link) => {
    expect(linkTarget(path, link)).toBeUndefined();
  });
});
