import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  checksumOf,
  digestHex,
  digestLike,
  formatChecksum,
  isDigest,
  openHash,
  sha256,
} from '../../../src/core/digest.ts';

const hex = (algorithm: string, bytes: string): string => createHash(algorithm).update(bytes).digest('hex');

describe('isDigest', () => {
  it('takes sha256 and sha512 in lower-case hex of the right length', () => {
    expect(isDigest(`sha256:${hex('sha256', 'x')}`)).toBe(true);
    expect(isDigest(`sha512:${hex('sha512', 'x')}`)).toBe(true);
  });

  it.each([
    '',
    'sha256:',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(65)}`,
    `sha512:${'a'.repeat(64)}`,
    `md5:${'a'.repeat(32)}`,
    `sha256:${'a'.repeat(64)}\n`,
    ` sha256:${'a'.repeat(64)}`,
    `sha256:../../${'a'.repeat(58)}`,
  ])('refuses %j', (text) => {
    expect(isDigest(text)).toBe(false);
  });
});

it('computes a digest by the algorithm of another', () => {
  const bytes = Buffer.from('abc');

  expect(sha256('abc')).toBe('sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(digestLike(sha256('other'), bytes)).toBe(sha256('abc'));
  expect(digestLike(`sha512:${'0'.repeat(128)}`, bytes)).toBe(`sha512:${hex('sha512', 'abc')}`);
});

it('takes a digest apart', () => {
  const digest = sha256('abc');

  expect(digestHex(digest)).toBe(hex('sha256', 'abc'));
  expect(checksumOf(digest)).toEqual({ algorithm: 'sha256', hex: hex('sha256', 'abc') });
  expect(checksumOf(`sha512:${'0'.repeat(128)}`)).toEqual({ algorithm: 'sha512', hex: '0'.repeat(128) });
  expect(formatChecksum(checksumOf(digest))).toBe(digest);
});

it('computes the hash of a git blob', () => {
  // `printf hello | git hash-object --stdin`
  const found = openHash('git-sha1', 5).update('hello').digest('hex');

  expect(found).toBe('b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0');
});
