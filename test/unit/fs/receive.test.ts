import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checksumOf, sha256 } from '../../../src/core/digest.ts';
import { MirrorError } from '../../../src/core/errors.ts';
import type { Expectation } from '../../../src/core/stream.ts';
import { hasFile, receiveFile } from '../../../src/fs/receive.ts';
import { watchedContent } from '../../support/contents.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const bytes = Buffer.from(seededBytes('file', 3 * 1024 * 1024 + 17));
const other = Buffer.from(seededBytes('other', bytes.length));
const expected: Expectation = { size: bytes.length, checksum: checksumOf(sha256(bytes)), item: 'x' };
const broken = new MirrorError('E_NETWORK', 'x');

it('writes the whole file under its final name, and nothing else', async () => {
  await using place = await temporaryDirectory();
  const directory = place.path;
  const content = watchedContent(bytes);

  await receiveFile(join(directory, 'a/b/file'), content, expected);

  expect((await readFile(join(directory, 'a/b/file'))).equals(bytes)).toBe(true);
  expect(await readdir(join(directory, 'a/b'))).toEqual(['file']);
  expect(content.opened).toEqual([0]);
});

it('takes an empty file', async () => {
  await using place = await temporaryDirectory();
  const directory = place.path;
  const empty = { size: 0, checksum: checksumOf(sha256('')), item: 'x' };

  await receiveFile(join(directory, 'file'), watchedContent(Buffer.alloc(0)), empty);

  expect(await readFile(join(directory, 'file'))).toHaveLength(0);
});

describe('an earlier run', () => {
  it.each([1, 64 * 1024, 1024 * 1024, bytes.length - 1])('is gone on with after %d bytes', async (length) => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    await writeFile(join(directory, 'file.partial'), bytes.subarray(0, length));
    const content = watchedContent(bytes);
    const seen: Uint8Array[] = [];

    await receiveFile(join(directory, 'file'), content, expected, { onBytes: (chunk) => seen.push(chunk) });

    expect(content.opened).toEqual([length]);
    expect(Buffer.concat(seen).equals(bytes)).toBe(true);
    expect((await readFile(join(directory, 'file'))).equals(bytes)).toBe(true);
    expect(await readdir(directory)).toEqual(['file']);
  });

  it('that was whole but for its name fetches nothing again', async () => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    await writeFile(join(directory, 'file.partial'), bytes);
    const content = watchedContent(bytes);

    await receiveFile(join(directory, 'file'), content, expected);

    expect(content.opened.filter((offset) => offset < bytes.length)).toEqual([]);
    expect(await readdir(directory)).toEqual(['file']);
  });

  it.each([
    ['other bytes', other.subarray(0, 1000)],
    ['as many other bytes', other],
    ['more bytes', Buffer.concat([bytes, Buffer.from('x')])],
  ])('that left %s is begun again', async (_, left) => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    await writeFile(join(directory, 'file.partial'), left);
    const content = watchedContent(bytes);

    await receiveFile(join(directory, 'file'), content, expected);

    expect(content.opened.at(-1)).toBe(0);
    expect((await readFile(join(directory, 'file'))).equals(bytes)).toBe(true);
    expect(await readdir(directory)).toEqual(['file']);
  });

  it('is what a broken connection leaves', async () => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    const half = 24 * 64 * 1024;
    const content = watchedContent(bytes, {
      broken: (position, opening) => (opening === 1 && position === half ? broken : undefined),
    });
    const path = join(directory, 'file');

    expect(await codeOf(receiveFile(path, content, expected))).toBe('E_NETWORK');
    expect((await readFile(`${path}.partial`)).equals(bytes.subarray(0, half))).toBe(true);
    expect(await readdir(directory)).toEqual(['file.partial']);
    await receiveFile(path, content, expected);

    expect(content.opened).toEqual([0, half]);
    expect((await readFile(path)).equals(bytes)).toBe(true);
  });

  it('is what an interruption leaves', async () => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    const controller = new AbortController();
    const path = join(directory, 'file');
    let seen = 0;
    const onBytes = (chunk: Uint8Array): void => {
      seen += chunk.length;
      if (seen >= 1024 * 1024) controller.abort();
    };

    const { signal } = controller;
    expect(await codeOf(receiveFile(path, watchedContent(bytes), expected, { signal, onBytes }))).toBe('E_ABORTED');

    expect(await readFile(`${path}.partial`)).toHaveLength(seen);
    expect(await readdir(directory)).toEqual(['file.partial']);
  });
});

describe('wrong bytes', () => {
  const cases: [string, Buffer, string][] = [
    ['other ones', other, 'E_DIGEST_MISMATCH'],
    ['too few', bytes.subarray(0, -1), 'E_SIZE_MISMATCH'],
    ['too many', Buffer.concat([bytes, Buffer.from('x')]), 'E_SIZE_MISMATCH'],
    ['none', Buffer.alloc(0), 'E_SIZE_MISMATCH'],
  ];

  it.each(cases)('leave nothing behind: %s', async (_, found, code) => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    expect(await codeOf(receiveFile(join(directory, 'file'), watchedContent(found), expected))).toBe(code);

    expect(await readdir(directory)).toEqual([]);
  });

  it.each(cases)('leave nothing behind after an earlier run either: %s', async (_, found, code) => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    await writeFile(join(directory, 'file.partial'), other.subarray(0, 100));

    expect(await codeOf(receiveFile(join(directory, 'file'), watchedContent(found), expected))).toBe(code);

    expect(await readdir(directory)).toEqual([]);
  });

  it('leave a file of that name alone', async () => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    await writeFile(join(directory, 'file'), 'old');

    expect(await codeOf(receiveFile(join(directory, 'file'), watchedContent(other), expected))).toBe(
      'E_DIGEST_MISMATCH',
    );

    expect(await readFile(join(directory, 'file'), 'utf8')).toBe('old');
  });
});

describe('a place that cannot be written to', () => {
  it('is refused when it is read-only', async () => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    await chmod(directory, 0o555);
    // Root may write anywhere but to what the kernel itself makes up.
    const readOnly = process.getuid?.() === 0 ? '/sys/kernel' : directory;

    expect(await codeOf(receiveFile(join(readOnly, 'sie-mirror-test/file'), watchedContent(bytes), expected))).toBe(
      'E_REFUSED',
    );
  });

  it('is refused when a part of it is a file', async () => {
    await using place = await temporaryDirectory();
    const directory = place.path;
    await writeFile(join(directory, 'a'), '');

    expect(await codeOf(receiveFile(join(directory, 'a/b/file'), watchedContent(bytes), expected))).toBe('E_PATH');
  });
});

it('tells a file of the right size from everything else', async () => {
  await using place = await temporaryDirectory();
  const directory = place.path;
  await writeFile(join(directory, 'file'), 'abc');
  await mkdir(join(directory, 'folder'));

  expect(await hasFile(join(directory, 'file'), 3)).toBe(true);
  expect(await hasFile(join(directory, 'file'), 4)).toBe(false);
  expect(await hasFile(join(directory, 'nothing'), 3)).toBe(false);
  expect(await codeOf(hasFile(join(directory, 'folder'), 3))).toBe('E_PATH');
});
