import { appendFile, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { VolumeJournal } from '../../../src/bundle/writing/journal.ts';
import { planVolumes, type VolumePlan } from '../../../src/bundle/writing/layout.ts';
import { type WrittenVolumes, writeVolumes } from '../../../src/bundle/writing/writer.ts';
import { checksumOf, sha256 } from '../../../src/core/digest.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const sizes = { 'hub/a': 40_000, 'hub/large': 200_000 };
const plan = sha256('the plan');
let root: string;

beforeEach(async () => {
  const place = await temporaryDirectory();
  root = place.path;
  await mkdir(join(root, 'bundle'));
  await mkdir(join(root, 'hub'));
  for (const [path, size] of Object.entries(sizes)) await writeFile(stored(path), seededBytes(path, size));
  return async () => place[Symbol.asyncDispose]();
});

const stored = (path: string): string => join(root, path);
const openJournal = async (id = plan): Promise<VolumeJournal> => {
  const journal = await VolumeJournal.open(join(root, 'journal'), id);
  if (!journal) throw new Error('there is no journal');
  return journal;
};

function plansOf(isDeclared: boolean): VolumePlan[] {
  const files = Object.entries(sizes).map(([path, size]) => ({
    path,
    size,
    checksum: isDeclared ? checksumOf(sha256(seededBytes(path, size))) : undefined,
  }));
  return planVolumes('b', files, 64 * 1024);
}

const declared = plansOf(true);
const undeclared = plansOf(false);

/** @param volumes how many are written before the run is broken off */
async function write(plans: VolumePlan[], volumes = plans.length, journal?: VolumeJournal): Promise<WrittenVolumes> {
  const options = { report: (): void => {}, journal: journal ?? (await openJournal()) };
  return writeVolumes((name) => join(root, 'bundle', name), plans.slice(0, volumes), root, options);
}

async function damage(path: string): Promise<void> {
  const bytes = seededBytes(path, sizes['hub/large']);
  bytes[100] = (bytes[100] ?? 0) ^ 1;
  await writeFile(stored(path), bytes);
}

it('forgets the volumes that have a part of a file which turned out damaged', async () => {
  await damage('hub/large');
  expect(await codeOf(write(declared))).toBe('E_DIGEST_MISMATCH');
  expect((await openJournal()).done.map(({ volume }) => volume.name)).toEqual(['b.0001.tar']);

  await writeFile(stored('hub/large'), seededBytes('hub/large', sizes['hub/large']));
  const { blobs } = await write(declared);

  expectRightParts(blobs);
});

it('does not join parts of a file that was changed while a run was broken off', async () => {
  await damage('hub/large');
  await write(undeclared, 3);
  await writeFile(stored('hub/large'), seededBytes('hub/large', sizes['hub/large']));

  expect(await codeOf(write(undeclared))).toBe('E_DIGEST_MISMATCH');

  const { blobs } = await write(undeclared);
  expectRightParts(blobs);
});

it('goes on in the middle of a file as if it had never stopped', async () => {
  await write(declared, 3);
  const resumed = await write(declared);

  await (await openJournal()).remove();
  expect(await write(declared)).toEqual(resumed);
  expectRightParts(resumed.blobs);
});

it('goes on after a line that was cut off, and what is added then can be read again', async () => {
  await write(declared, 2);
  await appendFile(join(root, 'journal'), '{"volume":{"name":"b.00');
  expect((await openJournal()).done).toHaveLength(2);

  await write(declared, 3);

  expect((await openJournal()).done).toHaveLength(3);
});

it('is begun anew for another plan', async () => {
  await write(declared, 2);

  expect((await openJournal(sha256('another plan'))).done).toEqual([]);
  expect((await openJournal()).done).toEqual([]);
});

const namesIn = ({ done }: VolumeJournal): string[] => done.map(({ volume }) => volume.name);

it('forgets volumes by name, on disk too, and keeps what it knows of the others', async () => {
  await write(declared, 3);
  const before = (await openJournal()).done.map((record) =>
    JSON.stringify([record.volume, [...record.blobs], record.open]),
  );
  const journal = await openJournal();

  await journal.forget(new Set(['b.0002.tar', 'another.tar']));

  for (const each of [journal, await openJournal()]) {
    expect(namesIn(each)).toEqual(['b.0001.tar', 'b.0003.tar']);
    expect(each.done.map((record) => JSON.stringify([record.volume, [...record.blobs], record.open]))).toEqual(
      before.filter((_, index) => index !== 1),
    );
  }
});

it('is the same file as before when there is nothing to forget', async () => {
  await write(declared, 2);
  const { ino } = await stat(join(root, 'journal'));

  await (await openJournal()).forget(new Set(['b.0009.tar']));

  expect((await stat(join(root, 'journal'))).ino).toBe(ino);
});

it('writes what was forgotten again, and goes on after it', async () => {
  await write(declared, 3);
  await (await openJournal()).forget(new Set(['b.0003.tar']));
  await writeFile(join(root, 'bundle/b.0003.tar'), 'what a failed medium has left');

  const { blobs, volumes } = await write(declared);

  expectRightParts(blobs);
  const third = await readFile(join(root, 'bundle/b.0003.tar'));
  expect(volumes.map(({ name }) => name)).toEqual(declared.map(({ name }) => name));
  expect(volumes[2]?.digest).toBe(sha256(third));
  expect(namesIn(await openJournal())).toHaveLength(declared.length);
});

it.skipIf(process.platform !== 'linux')(
  'is taken away when it says of a volume what is not so any more, and cannot be written to',
  async () => {
    const path = join(root, 'journal');
    await write(declared, 2);
    const journal = await openJournal();
    const text = await readFile(path);
    await rm(path);
    await symlink('/dev/full', path);
    const [record] = journal.done;
    if (record) await journal.add(record);
    // What a full disk leaves: all that was noted before.
    await rm(path);
    await writeFile(path, text);

    await journal.forget(new Set(['b.0002.tar']));

    expect(namesIn(await openJournal())).toEqual([]);
  },
);

/** Each part is what the file has in its place, and together they are the file. */
function expectRightParts(blobs: WrittenVolumes['blobs']): void {
  const bytes = seededBytes('hub/large', sizes['hub/large']);
  const parts = blobs.find(({ path }) => path === 'hub/large')?.parts ?? [];
  let start = 0;
  for (const { digest, size } of parts) {
    expect(digest).toBe(sha256(bytes.subarray(start, start + size)));
    start += size;
  }
  expect([parts.length > 2, start]).toEqual([true, bytes.length]);
}

it.skipIf(process.platform !== 'linux')(
  'on a full disk stops no bundle, and claims nothing that it could not note',
  async () => {
    const journal = await openJournal();
    // Whatever is written to this device finds no room: https://man7.org/linux/man-pages/man4/full.4.html
    await rm(join(root, 'journal'));
    await symlink('/dev/full', join(root, 'journal'));

    const written = await write(declared, declared.length, journal);

    expect(written.volumes).toHaveLength(declared.length);
    await rm(join(root, 'journal'));
    expect((await openJournal()).done).toEqual([]);
    expect((await readdir(root)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  },
);
