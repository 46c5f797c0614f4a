import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isWrongBytes, MirrorError } from '../core/errors.ts';
import type { Content } from '../core/ports.ts';
import { Check, type Expectation } from '../core/stream.ts';
import { namePath, partialSuffix } from './atomic.ts';
import { BatchWriter } from './batch-writer.ts';
import { makeDirectory } from './directories.ts';
import { ifThere } from './if-there.ts';
import { fileContent } from './read.ts';

/** Takes note of the bytes of a file as they become known; `resumed` ones were already on disk. */
export interface ReceiveOptions {
  signal?: AbortSignal | undefined;
  /** Sees each byte of the file once, in order, those of an earlier run included. */
  onBytes?: (chunk: Uint8Array) => void;
  /** Where the bytes go until they are whole, when it is not `PATH.partial`; the directory of PATH is there then. */
  partial?: string;
}

/**
 * Receives a file: bytes go to `PATH.partial` and are checked while they arrive; only a whole and right file gets its
 * final name. What an earlier run left in the partial file is checked again and kept.
 * @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH, and what `content` throws
 */
export async function receiveFile(
  path: string,
  content: Content,
  expected: Expectation,
  options: ReceiveOptions = {},
): Promise<void> {
  const partial = options.partial ?? `${path}${partialSuffix}`;
  const opened = await openPartial(partial);
  const resumed = opened.size;
  try {
    await using file = opened.file;
    await receive({ file, path: partial, resumed }, content, expected, options);
  } catch (error) {
    const known = namePath(error, partial);
    if (!isWrongBytes(known)) throw known;
    await rm(partial, { force: true });
    if (resumed === 0) throw known;
    // The wrong bytes may be those of the earlier run; a fresh start tells.
    await receiveFile(path, content, expected, options);
    return;
  }
  await rename(partial, path);
}

/** Most files are new, in a directory that is there: then this is one call to the system. */
async function openPartial(path: string): Promise<{ file: FileHandle; size: number }> {
  try {
    return { file: await open(path, 'wx', 0o644), size: 0 };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      await makeDirectory(dirname(path));
    } else if (code !== 'EEXIST') {
      throw namePath(error, path);
    }
  }
  try {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o644);
    return { file, size: (await file.stat()).size };
  } catch (error) {
    throw namePath(error, path);
  }
}

async function receive(
  { file, path, resumed }: { file: FileHandle; path: string; resumed: number },
  content: Content,
  expected: Expectation,
  options: ReceiveOptions,
): Promise<void> {
  const check = new Check(expected);
  const see = (chunk: Uint8Array): void => {
    check.update(chunk);
    options.onBytes?.(chunk);
  };
  if (resumed > 0)
    for await (const chunk of fileContent([{ path, offset: 0, size: resumed }]).open(0, options.signal)) see(chunk);
  const writer = new BatchWriter(file, resumed);
  try {
    for await (const chunk of content.open(resumed, options.signal)) {
      see(chunk);
      await writer.write(chunk);
    }
  } finally {
    await writer.flush();
  }
  check.finish();
  await file.sync();
}

/** 0 when there is no such file. */
export async function sizeOf(path: string): Promise<number> {
  return (await ifThere(stat(path)))?.size ?? 0;
}

/** Whether `path` is a regular file of this size. @throws E_PATH when something else stands there */
export async function hasFile(path: string, size: number): Promise<boolean> {
  const found = await ifThere(stat(path));
  if (found && !found.isFile())
    throw new MirrorError('E_PATH', `\`${path}\` is not a file`, {
      hint: 'move it away and run the same command again',
    });
  return found?.size === size;
}
