import { mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureWritable } from '../../../src/fs/atomic.ts';
import { makeDirectory } from '../../../src/fs/directories.ts';
import { codeOf, failureOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const at = (path: string): string => join(place.path, path);

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(() => place[Symbol.asyncDispose]());

describe('a directory is made', () => {
  it('with all that are missing above it, and again by another at the same time', async () => {
    await Promise.all([makeDirectory(at('a/b/c')), makeDirectory(at('a/b/d')), makeDirectory(at('a/b/c'))]);
    for (const path of ['a/b/c', 'a/b/d']) expect((await stat(at(path))).isDirectory()).toBe(true);
    await makeDirectory(at('a/b/c'));
  });

  it('behind a link to another', async () => {
    await mkdir(at('real'));
    await symlink('real', at('link'));
    await makeDirectory(at('link/x'));
    expect((await stat(at('real/x'))).isDirectory()).toBe(true);
  });
});

describe('no directory is made', () => {
  it('where a file stands, or below one', async () => {
    await writeFile(at('file'), '');
    expect(await codeOf(makeDirectory(at('file')))).toBe('E_PATH');
    expect(await codeOf(makeDirectory(at('file/a/b')))).toBe('E_PATH');
  });

  it('behind a link that leads nowhere', async () => {
    await symlink('gone', at('link'));
    expect(await codeOf(makeDirectory(at('link')))).toBe('E_PATH');
    await rm(at('link'));
  });

  it.runIf(process.platform === 'linux')('in a place that takes none, and that is said at once', async () => {
    expect(await codeOf(ensureWritable('/proc/sie-mirror/store'))).toBe('E_REFUSED');
  });

  it.runIf(process.platform === 'linux')('where nothing can be written, which is told by its own name', async () => {
    expect((await failureOf(ensureWritable('/proc/self'))).message).toMatch(/^`\/proc\/self`/);
  });
});
