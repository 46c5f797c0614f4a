import { execFile } from 'node:child_process';
import { mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { mostApprovals } from '../../../src/bundle/proof/approval.ts';
import { bundleFiles } from '../../../src/bundle/records/inventory.ts';
import { formatInventory } from '../../../src/bundle/records/inventory-text.ts';
import { openSealed } from '../../../src/bundle/reader.ts';
import { trustNobody } from '../../../src/bundle/proof/signers.ts';
import { type Verdict, verifyBundle, type VerifyOptions } from '../../../src/bundle/proof/verify.ts';
import { VolumeCheck } from '../../../src/bundle/proof/volume-check.ts';
import { HashPool } from '../../../src/fs/hash-pool.ts';
import { codeOf, failureOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { buildBundle, type BuiltBundle } from '../../support/sealed-bundle.ts';

const volumeSize = 64 * 1024;

/** A bundle of small files, of one that is larger than a volume, and of a link. */
async function makeBundle(place: string): Promise<BuiltBundle> {
  return buildBundle(
    place,
    { 'hub/a': 10_000, 'hub/b': 0, 'hub/large': 150_000, 'oci/c': 30_000 },
    { 'hub/link': 'a' },
  );
}

async function verify(directory: string, options: Pick<VerifyOptions, 'signal' | 'partial'> = {}): Promise<Verdict> {
  return verifyBundle(await openSealed(directory, trustNobody), {
    threads: 2,
    onTotal: () => {},
    onBytes: () => {},
    ...options,
  });
}

async function flip(path: string, offset: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[offset] = (bytes[offset] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

it('finds nothing wrong with a good bundle', async () => {
  await using place = await temporaryDirectory();
  const { directory, inventory } = await makeBundle(place.path);

  const verdict = await verify(directory);

  expect(verdict.findings).toEqual([]);
  expect(verdict.inventory && formatInventory(verdict.inventory)).toBe(formatInventory(inventory));
  expect(inventory.volumes.length).toBeGreaterThan(3);
});

describe('one wrong bit', () => {
  it.each<[string, (size: number) => number]>([
    ['in the first header', () => 5],
    ['in a file', () => 600],
    ['in the blocks at the end', (size) => size - 1],
    ['right before the end', (size) => size - 1025],
  ])('%s of each volume is found, and that volume is named', async (_, offsetIn) => {
    await using place = await temporaryDirectory();
    const { directory, inventory } = await makeBundle(place.path);

    for (const { name, size } of inventory.volumes) {
      await flip(join(directory, name), offsetIn(size));
      const { findings } = await verify(directory);
      expect(new Set(findings.map(({ file }) => file))).toEqual(new Set([name]));
      await flip(join(directory, name), offsetIn(size));
    }
  });

  it.each([bundleFiles.inventory, bundleFiles.guide])('of %s is found', async (name) => {
    await using place = await temporaryDirectory();
    const { directory } = await makeBundle(place.path);
    await flip(join(directory, name), 3);

    const { findings } = await verify(directory);

    expect(new Set(findings.map(({ file }) => file))).toEqual(new Set([name]));
  });
});

describe('a file that goes over several volumes, not all of which are here,', () => {
  it.each([true, false])(
    'is judged by what is here of it: every volume with a wrong bit is named, partial: %s',
    async (partial) => {
      await using place = await temporaryDirectory();
      const { directory, inventory } = await makeBundle(place.path);
      const parts = inventory.blobs.find(({ path }) => path === 'hub/large')?.parts ?? [];
      const [first, ...others] = parts.map(({ volume }) => inventory.volumes[volume - 1]?.name ?? '');
      expect(others.length).toBeGreaterThan(1);
      await rm(join(directory, first ?? ''));
      const whole = await verify(directory, { partial });
      for (const [index, { offset }] of parts.slice(1).entries())
        await flip(join(directory, others[index] ?? ''), offset);

      const { findings, absent } = await verify(directory, { partial });

      const missing = partial ? [] : [first];
      expect(whole.findings.map(({ file }) => file)).toEqual(missing);
      expect(absent).toEqual(partial ? [first] : []);
      expect(new Set(findings.map(({ file }) => file))).toEqual(new Set([...missing, ...others]));
    },
  );

  it('reads each byte that is here once', async () => {
    await using place = await temporaryDirectory();
    const { directory, inventory } = await makeBundle(place.path);
    const [first, ...others] = inventory.volumes;
    await rm(join(directory, first?.name ?? ''));
    let [read, total] = [0, 0];

    await verifyBundle(await openSealed(directory, trustNobody), {
      partial: true,
      threads: 2,
      onTotal: (bytes) => void (total += bytes),
      onBytes: (bytes) => void (read += bytes),
    });

    const content = [...inventory.blobs].flatMap(({ parts }) => parts).filter(({ volume }) => volume !== 1);
    const guide = 'read me\n'.length;
    expect(read).toBe(guide + content.reduce((sum, { size }) => sum + size, 0));
    expect(total).toBe(others.reduce((sum, { size }) => sum + size, 0));
  });
});

describe('the set of files', () => {
  it.each<[string, string, (path: string) => Promise<void>]>([
    ['missing', 'missing', (path) => rm(path)],
    ['shorter', 'size', (path) => truncate(path, 1000)],
    ['empty', 'size', (path) => truncate(path, 0)],
    ['longer', 'size', (path) => truncate(path, 3 * volumeSize)],
    [
      'a directory',
      'corrupt',
      async (path) => {
        await rm(path);
        await mkdir(path);
      },
    ],
  ])('has a volume that is %s', async (_, problem, damage) => {
    await using place = await temporaryDirectory();
    const { directory, inventory } = await makeBundle(place.path);
    const name = inventory.volumes[1]?.name ?? '';
    await damage(join(directory, name));

    const { findings } = await verify(directory);

    expect(findings).toContainEqual(expect.objectContaining({ file: name, problem }));
    expect(new Set(findings.map(({ file }) => file))).toEqual(new Set([name]));
  });

  it.each(['SHA256SU', 'sha256su.', 'sha256sums', 'SHA256~1'])(
    'says that names were cut where it finds `%s` for SHA256SUMS, and not that it was never finished',
    async (name) => {
      await using place = await temporaryDirectory();
      const { directory } = await makeBundle(place.path);
      await rename(join(directory, bundleFiles.sums), join(directory, name));

      const { code, message, hint } = await failureOf(verify(directory));

      expect([code, message, hint]).toEqual([
        'E_MISSING',
        expect.stringContaining(name),
        expect.stringContaining('long names'),
      ]);
    },
  );

  const approval = 'SHA256SUMS.approval-0123456789abcdef';

  it.each([`${approval}.sig`, `${approval}.json`])(
    'has one half of an approval, %s, that belongs to nothing',
    async (name) => {
      await using place = await temporaryDirectory();
      const { directory } = await makeBundle(place.path);
      await writeFile(join(directory, name), '');

      expect((await verify(directory)).findings).toMatchObject([{ file: name, problem: 'extra' }]);
    },
  );

  it('has an approval in which something large may hide', async () => {
    await using place = await temporaryDirectory();
    const { directory } = await makeBundle(place.path);
    await writeFile(join(directory, `${approval}.json`), '');
    await writeFile(join(directory, `${approval}.sig`), Buffer.alloc(100_000));

    expect((await verify(directory)).findings).toMatchObject([{ file: `${approval}.sig`, problem: 'size' }]);
  });

  it('has more approvals than anybody gives: nobody proves what stands in those by unknown keys', async () => {
    await using place = await temporaryDirectory();
    const { directory } = await makeBundle(place.path);
    const approve = async (number: number): Promise<void> => {
      const path = join(directory, `SHA256SUMS.approval-${number.toString(16).padStart(16, '0')}`);
      for (const half of ['json', 'sig']) await writeFile(`${path}.${half}`, '{}');
    };
    for (let number = 0; number < mostApprovals; number += 1) await approve(number);
    expect((await verify(directory)).findings).toEqual([]);
    await approve(mostApprovals);
    const { findings } = await verify(directory);
    expect(findings).toMatchObject([{ file: 'SHA256SUMS.approval-0000000000000010.json', problem: 'extra' }]);
  });

  it('has a file that does not belong to it', async () => {
    await using place = await temporaryDirectory();
    const { directory, inventory } = await makeBundle(place.path);
    const name = inventory.volumes[0]?.name ?? '';
    await rename(join(directory, name), join(directory, 'renamed.tar'));

    const { findings } = await verify(directory);

    expect(findings.map(({ file, problem }) => [file, problem])).toEqual(
      expect.arrayContaining([
        [name, 'missing'],
        ['renamed.tar', 'extra'],
      ]),
    );
  });
});

it('names the one volume that cannot be read, though a file goes over several', async () => {
  await using place = await temporaryDirectory();
  const { directory, inventory } = await makeBundle(place.path);
  const [, , third] = inventory.volumes.map(({ name }) => name);
  const worn: Pick<HashPool, 'sha256'> = {
    sha256: async (extents) => {
      if (extents.some(({ path }) => path.endsWith(third ?? '')))
        throw Object.assign(new Error('worn'), { code: 'EIO' });
      return pool.sha256(extents);
    },
  };
  await using pool = new HashPool(1, () => {});
  const check = new VolumeCheck(await openSealed(directory, trustNobody), inventory, worn, [], []);

  const findings = await check.run();

  expect(new Set(findings.map(({ file, problem }) => `${file} ${problem}`))).toEqual(new Set([`${third} unreadable`]));
});

const makePipe = (path: string): Promise<unknown> => promisify(execFile)('mkfifo', [path]);
const linkToZeros = (path: string): Promise<unknown> => symlink('/dev/zero', path);

it('waits for no pipe that takes the place of a file after it was looked at, and reads no device', async () => {
  await using place = await temporaryDirectory();
  const { directory, inventory } = await makeBundle(place.path);
  const options = { threads: 2, onTotal: () => {}, onBytes: () => {} };
  const volumes = inventory.volumes.map(({ name }) => name);
  for (const [name, replace] of [
    [volumes[0] ?? '', makePipe],
    [volumes[1] ?? '', linkToZeros],
    [bundleFiles.guide, makePipe],
    [bundleFiles.inventory, linkToZeros],
    [bundleFiles.inventory, makePipe],
  ] as const) {
    const bundle = await openSealed(directory, trustNobody);
    await rename(join(directory, name), join(place.path, 'kept'));
    await replace(join(directory, name));

    expect((await verifyBundle(bundle, options)).findings.map(({ file }) => file)).toContain(name);

    await rename(join(place.path, 'kept'), join(directory, name));
  }
});

it('gives no verdict when it is interrupted', async () => {
  await using place = await temporaryDirectory();
  const { directory } = await makeBundle(place.path);

  expect(await codeOf(verify(directory, { signal: AbortSignal.abort() }))).toBe('E_ABORTED');
});

it('that is interrupted looks at no more headers, of which there may be very many on a slow medium', async () => {
  await using place = await temporaryDirectory();
  const { directory, inventory } = await makeBundle(place.path);
  let asked = 0;
  const counting = { sha256: async () => `${(asked += 1)}` };
  const bundle = await openSealed(directory, trustNobody);
  const check = new VolumeCheck(bundle, inventory, counting, [], [], AbortSignal.abort());

  expect(await codeOf(check.run())).toBe('E_ABORTED');
  expect(asked).toBe(0);
});
