import { readdir, readFile, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checksumOf, sha256 } from '../../../src/core/digest.ts';
import { MirrorError } from '../../../src/core/errors.ts';
import type { LockOwner } from '../../../src/fs/lock.ts';
import { partialPath, SharedFiles } from '../../../src/fs/shared-files.ts';
import { watchedContent } from '../../support/contents.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';
import { waitFor } from '../../support/wait.ts';

const bytes = Buffer.from(seededBytes('shared', 3 * 1024 * 1024));
const small = Buffer.from(seededBytes('small', 1000));
const expectation = (all: Uint8Array) => ({ size: all.length, checksum: checksumOf(sha256(all)), item: 'x' });
const chunk = 64 * 1024;
const half = 24 * chunk;
const broken = new MirrorError('E_NETWORK', 'x');

/** Process 7 runs, all others have ended. */
const owner: LockOwner = { pid: 4711, isRunning: (pid) => pid === 7 };

/** What a process of another run, of this host, has written of a file. */
async function partialOf(directory: string, pid: number, content: Uint8Array): Promise<string> {
  const path = partialPath(join(directory, 'blob'), { pid, run: '00000000' });
  await writeFile(path, content);
  return path;
}

it('leaves a whole file, and nothing else', async () => {
  await using place = await temporaryDirectory();
  for (const [name, all] of [['large', bytes] as const, ['little', small] as const])
    await new SharedFiles(owner).receive(join(place.path, name), watchedContent(all), expectation(all));
  expect((await readdir(place.path)).sort()).toEqual(['large', 'little']);
  expect((await readFile(join(place.path, 'large'))).equals(bytes)).toBe(true);
});

it('goes on with what a dead process left, and with what nobody works on', async () => {
  for (const pid of [8, owner.pid, undefined]) {
    await using place = await temporaryDirectory();
    if (pid === undefined) await writeFile(join(place.path, 'blob.partial'), bytes.subarray(0, half));
    else await partialOf(place.path, pid, bytes.subarray(0, half));
    const content = watchedContent(bytes);

    await new SharedFiles(owner).receive(join(place.path, 'blob'), content, expectation(bytes));

    expect(content.opened).toEqual([half]);
    expect(await readdir(place.path)).toEqual(['blob']);
  }
});

it('takes the most of what several left, and clears the rest away', async () => {
  await using place = await temporaryDirectory();
  await partialOf(place.path, 8, bytes.subarray(0, chunk));
  await partialOf(place.path, 9, bytes.subarray(0, half));
  const content = watchedContent(bytes);

  await new SharedFiles(owner).receive(join(place.path, 'blob'), content, expectation(bytes));

  expect(content.opened).toEqual([half]);
  expect(await readdir(place.path)).toEqual(['blob']);
});

it('begins anew when what was left is wrong', async () => {
  await using place = await temporaryDirectory();
  await partialOf(place.path, 8, small);
  await new SharedFiles(owner).receive(join(place.path, 'blob'), watchedContent(bytes), expectation(bytes));
  expect((await readFile(join(place.path, 'blob'))).equals(bytes)).toBe(true);
  expect(await readdir(place.path)).toEqual(['blob']);
});

it('waits for a running process that is writing the same, and fetches nothing when it succeeds', async () => {
  await using place = await temporaryDirectory();
  const theirs = await partialOf(place.path, 7, bytes);
  const content = watchedContent(bytes);

  const received = new SharedFiles(owner).receive(join(place.path, 'blob'), content, expectation(bytes));
  await rename(theirs, join(place.path, 'blob'));
  await received;

  expect(content.opened).toEqual([]);
  expect(await readdir(place.path)).toEqual(['blob']);
});

it('takes over when the running process fails', async () => {
  await using place = await temporaryDirectory();
  const theirs = await partialOf(place.path, 7, bytes.subarray(0, half));
  const content = watchedContent(bytes);

  const received = new SharedFiles(owner).receive(join(place.path, 'blob'), content, expectation(bytes));
  await rename(theirs, join(place.path, 'blob.partial'));
  await received;

  expect(content.opened).toEqual([half]);
});

it('does not wait for ever for one that does not go on, and leaves its file alone', async () => {
  await using place = await temporaryDirectory();
  const theirs = await partialOf(place.path, 7, bytes.subarray(0, half));
  const content = watchedContent(bytes);

  await new SharedFiles(owner, 0).receive(join(place.path, 'blob'), content, expectation(bytes));

  expect(content.opened).toEqual([0]);
  expect((await readFile(join(place.path, 'blob'))).equals(bytes)).toBe(true);
  expect(await readFile(theirs)).toHaveLength(half);
});

it('can be interrupted while it waits', async () => {
  await using place = await temporaryDirectory();
  await partialOf(place.path, 7, bytes.subarray(0, half));
  const controller = new AbortController();
  const received = new SharedFiles(owner).receive(
    join(place.path, 'blob'),
    watchedContent(bytes),
    expectation(bytes),
    controller.signal,
  );
  controller.abort();
  expect(await codeOf(received)).toBe('E_ABORTED');
});

it('lets many bring the same file at the same time, one of them mostly', async () => {
  await using place = await temporaryDirectory();
  const contents = Array.from({ length: 6 }, () => watchedContent(bytes));

  await Promise.all(
    contents.map((content) => new SharedFiles(owner).receive(join(place.path, 'blob'), content, expectation(bytes))),
  );

  expect(contents.flatMap(({ opened }) => opened).length).toBeLessThanOrEqual(2);
  expect((await readFile(join(place.path, 'blob'))).equals(bytes)).toBe(true);
  expect(await readdir(place.path)).toEqual(['blob']);
});

it('lets one go on where another one of the same run failed', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'blob');
  const files = new SharedFiles(owner);
  const failing = watchedContent(bytes, { broken: (position) => (position === half ? broken : undefined) });
  const content = watchedContent(bytes);

  const first = codeOf(files.receive(path, failing, expectation(bytes)));
  await waitFor('the first has begun', () => failing.opened.length > 0);
  await files.receive(path, content, expectation(bytes));

  expect(await first).toBe('E_NETWORK');
  expect(content.opened).toEqual([half]);
  expect(await readdir(place.path)).toEqual(['blob']);
});

it('leaves nothing of a small file that failed, and clears away what a killed run left of one', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'blob');
  await partialOf(place.path, 8, small.subarray(0, 10));
  expect(
    await codeOf(
      new SharedFiles(owner).receive(path, watchedContent(small, { broken: () => broken }), expectation(small)),
    ),
  ).toBe('E_NETWORK');
  expect(await readdir(place.path)).toHaveLength(1);

  await new SharedFiles(owner).receive(path, watchedContent(small), expectation(small));

  expect(await readdir(place.path)).toEqual(['blob']);
});

it('sweeps what dead processes left long ago, and nothing else', async () => {
  await using place = await temporaryDirectory();
  const old = new Date(Date.now() - 1_000_000);
  const dead = await partialOf(place.path, 8, small);
  const living = await partialOf(place.path, 7, small);
  const unnamed = join(place.path, 'other.partial');
  const whole = join(place.path, 'whole');
  for (const path of [unnamed, whole]) await writeFile(path, small);
  for (const path of [dead, living, unnamed, whole]) await utimes(path, old, old);
  const young = await partialOf(place.path, 8, small);

  expect(await new SharedFiles(owner).sweep(place.path, 900_000)).toEqual({ files: 2, bytes: 2 * small.length });

  const left = (await readdir(place.path)).map((name) => join(place.path, name));
  expect(left.sort()).toEqual([living, whole, young].sort());
});
