import { describe, expect, it } from 'vitest';
import {
  type ErrorCode,
  exitOfMany,
  isAbort,
  MirrorError,
  placeError,
  toMirrorError,
} from '../../../src/core/errors.ts';

/** The promise to scripts, by docs/exit-codes.md; written out here so that a change has to be made twice. */
const exits: Record<ErrorCode, number> = {
  E_INTERNAL: 1,
  E_USAGE: 2,
  E_MANIFEST: 2,
  E_POLICY: 2,
  E_MEDIUM: 3,
  E_INCOMPLETE: 3,
  E_DIGEST_MISMATCH: 4,
  E_SIZE_MISMATCH: 4,
  E_CORRUPT: 4,
  E_MISSING: 4,
  E_SIGNATURE: 4,
  E_NETWORK: 5,
  E_RATE_LIMIT: 5,
  E_REMOTE: 5,
  E_TLS: 5,
  E_PROTOCOL: 5,
  E_AUTH: 6,
  E_GATED: 6,
  E_NOT_FOUND: 7,
  E_REFUSED: 8,
  E_NO_SPACE: 8,
  E_PATH: 8,
  E_BASE_MISSING: 8,
  E_BLOB_UNKNOWN: 8,
  E_SMOKE: 9,
  E_ABORTED: 130,
};
const codes = Object.keys(exits) as ErrorCode[];

it.each(codes)('%s has the documented exit code', (code) => {
  expect(new MirrorError(code, 'x').exit).toBe(exits[code]);
});

it('lets only what may pass be tried again', () => {
  const retryable = codes.filter((code) => new MirrorError(code, 'x').retryable);

  expect(retryable).toEqual(['E_NETWORK', 'E_RATE_LIMIT', 'E_REMOTE']);
});

describe('exitOfMany', () => {
  const many = (...list: ErrorCode[]): { code: ErrorCode }[] => list.map((code) => ({ code }));

  it.each<[string, ErrorCode[], boolean, number]>([
    ['integrity wins over all', ['E_NETWORK', 'E_DIGEST_MISMATCH', 'E_AUTH'], true, 4],
    ['all failed in one way', ['E_NETWORK', 'E_RATE_LIMIT'], false, 5],
    ['all failed in one way, and something succeeded', ['E_NETWORK', 'E_RATE_LIMIT'], true, 3],
    ['failed in several ways', ['E_NETWORK', 'E_AUTH'], false, 3],
    ['one alone', ['E_GATED'], false, 6],
    ['one among good ones', ['E_NOT_FOUND'], true, 3],
  ])('%s', (_, list, someSucceeded, exit) => {
    expect(exitOfMany(many(...list), someSucceeded)).toBe(exit);
  });
});

describe('toMirrorError', () => {
  const system = (code: string): Error => Object.assign(new Error(code), { code, path: '/p' });

  it.each<[string, ErrorCode]>([
    ['ENOSPC', 'E_NO_SPACE'],
    ['EDQUOT', 'E_NO_SPACE'],
    ['EFBIG', 'E_NO_SPACE'],
    ['EROFS', 'E_REFUSED'],
    ['EACCES', 'E_REFUSED'],
    ['EPERM', 'E_REFUSED'],
    ['ENOTDIR', 'E_PATH'],
    ['EISDIR', 'E_PATH'],
    ['EEXIST', 'E_PATH'],
    ['ENOENT', 'E_NOT_FOUND'],
    ['EIO', 'E_CORRUPT'],
    ['EWHATEVER', 'E_INTERNAL'],
  ])('translates %s to %s', (code, wanted) => {
    expect(toMirrorError(system(code)).code).toBe(wanted);
  });

  it('keeps one of ours, and takes whatever else was thrown', () => {
    const known = new MirrorError('E_AUTH', 'x');

    expect(toMirrorError(known)).toBe(known);
    expect(toMirrorError('just text').code).toBe('E_INTERNAL');
    expect(toMirrorError(undefined).code).toBe('E_INTERNAL');
  });

  it('knows an interruption by name and by code', () => {
    const controller = new AbortController();
    controller.abort();

    expect(isAbort(controller.signal.reason)).toBe(true);
    expect(toMirrorError(controller.signal.reason).code).toBe('E_ABORTED');
    expect(isAbort(Object.assign(new Error('x'), { code: 'ABORT_ERR' }))).toBe(true);
    expect(isAbort(new Error('x'))).toBe(false);
  });
});

it('adds a place without taking away what is known of it', () => {
  const cause = new Error('cause');
  const inner = new MirrorError('E_REMOTE', 'x', { hint: 'h', at: { side: 'target' }, retryAfterMs: 7, cause });

  const placed = placeError(inner, { side: 'source', item: 'i' });

  expect(placed.at).toEqual({ side: 'target', item: 'i' });
  expect([placed.code, placed.message, placed.hint, placed.retryAfterMs]).toEqual(['E_REMOTE', 'x', 'h', 7]);
  expect(placed.cause).toBe(cause);
  expect(placed.stack).toBe(inner.stack);
});
