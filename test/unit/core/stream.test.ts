import { describe, expect, it } from 'vitest';
import { checksumOf, sha256 } from '../../../src/core/digest.ts';
import {
  Check,
  contentOf,
  counted,
  type Expectation,
  readAll,
  readVerified,
  verified,
} from '../../../src/core/stream.ts';
import { collect, pieces } from '../../support/contents.ts';
import { codeOf, codeOfCall } from '../../support/failures.ts';

const expecting = (text: string, size = text.length): Expectation => ({
  size,
  checksum: checksumOf(sha256(text)),
  item: 'x',
});

/** How many bytes come out before the end or the error. */
async function passedBytes(chunks: readonly string[], expected: Expectation): Promise<number> {
  let passed = 0;
  try {
    for await (const chunk of verified(pieces(...chunks), expected)) passed += chunk.length;
  } catch {
    return passed;
  }
  return passed;
}

describe('verified', () => {
  it('passes right bytes on', async () => {
    expect((await collect(verified(pieces('ab', 'c', 'def'), expecting('abcdef')))).toString()).toBe('abcdef');
    expect(await collect(verified(pieces(), expecting('')))).toHaveLength(0);
  });

  it.each<[string, string[], Expectation, string]>([
    ['a byte is missing', ['abc', 'de'], expecting('abcdef'), 'E_SIZE_MISMATCH'],
    ['nothing comes', [], expecting('abcdef'), 'E_SIZE_MISMATCH'],
    ['there is one byte too many', ['abc', 'defg'], expecting('abcdef'), 'E_SIZE_MISMATCH'],
    ['there is a chunk too many', ['abc', 'def', 'g'], expecting('abcdef'), 'E_SIZE_MISMATCH'],
    ['something comes where nothing was announced', ['a'], expecting(''), 'E_SIZE_MISMATCH'],
    ['a byte is wrong', ['abc', 'deX'], expecting('abcdef'), 'E_DIGEST_MISMATCH'],
    ['the size is right and the digest another', ['abcdef'], expecting('ghijkl'), 'E_DIGEST_MISMATCH'],
  ])('refuses when %s, and never lets the last byte out', async (_, chunks, expected, code) => {
    expect(await codeOf(collect(verified(pieces(...chunks), expected)))).toBe(code);
    expect(await passedBytes(chunks, expected)).toBeLessThan(Math.max(expected.size, 1));
  });

  it('stops at the first byte too many and reads no further', async () => {
    let read = 0;
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (;;) {
        await Promise.resolve();
        read += 1;
        yield Buffer.from('ab');
      }
    };

    expect(await codeOf(collect(verified(endless(), expecting('abcdef'))))).toBe('E_SIZE_MISMATCH');
    expect(read).toBe(4);
  });
});

it('checks by sha512 and by the hash of git', async () => {
  const hello = Buffer.from('hello');
  const git: Expectation = {
    size: 5,
    checksum: { algorithm: 'git-sha1', hex: 'b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0' },
    item: 'x',
  };

  expect(await readVerified(contentOf(hello), git)).toEqual(hello);
  expect(await codeOf(readVerified(contentOf(Buffer.from('hellO')), git))).toBe('E_DIGEST_MISMATCH');
});

it('counts what a check has seen', () => {
  const check = new Check(expecting('abc'));
  check.update(Buffer.from('ab'));

  expect(check.seen).toBe(2);
  expect(codeOfCall(() => check.finish())).toBe('E_SIZE_MISMATCH');
});

it('reads documents up to a limit', async () => {
  expect((await readAll(pieces('ab', 'c'), 3)).toString()).toBe('abc');
  expect(await codeOf(readAll(pieces('ab', 'cd'), 3))).toBe('E_SIZE_MISMATCH');
});

it('opens bytes in memory at any offset, the end included', async () => {
  const content = contentOf(Buffer.from('abcdef'));

  expect((await collect(content.open(0))).toString()).toBe('abcdef');
  expect((await collect(content.open(4))).toString()).toBe('ef');
  expect(await collect(content.open(6))).toHaveLength(0);
});

it('tells every byte that passes', async () => {
  const seen: number[] = [];
  const content = counted({ size: 6, open: () => pieces('ab', 'cdef') }, (bytes) => seen.push(bytes));

  await collect(content.open(0));

  expect(content.size).toBe(6);
  expect(seen).toEqual([2, 4]);
});
