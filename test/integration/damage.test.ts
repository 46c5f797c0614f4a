import { execFile } from 'node:child_process';
import {
  copyFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { formatInventory } from '../../src/bundle/records/inventory-text.ts';
import { checkSizes, openSealed, readInventory } from '../../src/bundle/reader.ts';
import { makeKeyPair } from '../../src/bundle/proof/seal.ts';
import { trustNobody } from '../../src/bundle/proof/signers.ts';
import { verify } from '../../src/commands/verify.ts';
import { sha256 } from '../../src/core/digest.ts';
import { HashPool } from '../../src/fs/hash-pool.ts';
import { testContext } from '../support/context.ts';
import { unnoticedFlips, verdictOf } from '../support/every-byte.ts';
import { codeOf } from '../support/failures.ts';
import { temporaryDirectory } from '../support/place.ts';
import { buildBundle, type BuiltBundle, sealAgain } from '../support/sealed-bundle.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let bundle: BuiltBundle;
const file = (name: string): string => join(bundle.directory, name);

beforeEach(async () => {
  place = await temporaryDirectory();
  bundle = await buildBundle(
    place.path,
    { 'hub/a': 40_000, 'hub/large': 150_000, 'oci/c': 30_000 },
    { 'hub/link': 'a' },
  );
});

afterEach(async () => {
  await place[Symbol.asyncDispose]();
});

it('is noticed wherever a bit is flipped', async () => {
  await using other = await temporaryDirectory();
  const { tried, unnoticed } = await unnoticedFlips(other.path, 61);
  expect(tried).toBeGreaterThan(100);
  expect(unnoticed).toEqual([]);
}, 60_000);

it('is noticed wherever a volume ends early, and where it goes on', async () => {
  const [volume] = bundle.inventory.volumes;
  const path = file(volume?.name ?? '');
  const whole = await readFile(path);
  for (let size = 0; size < whole.length; size += 512 * 7) {
    await truncate(path, size);
    expect(await verdictOf(bundle.directory)).toBe(4);
    await writeFile(path, whole);
  }
  await writeFile(path, Buffer.concat([whole, Buffer.alloc(512)]));
  expect(await verdictOf(bundle.directory)).toBe(4);
});

it('is noticed by size alone at whichever block a volume ends, before anything is read', async () => {
  await using other = await temporaryDirectory();
  const { directory } = await buildBundle(other.path, { 'hub/a': 60_000, 'oci/c': 8000 });
  const inventory = await readInventory(await openSealed(directory, trustNobody));
  expect(inventory.volumes).toHaveLength(2);
  const unnoticed: string[] = [];
  for (const { name, size } of inventory.volumes) {
    const path = join(directory, name);
    const whole = await readFile(path);
    for (let end = size - 512; end >= 0; end -= 512) {
      await truncate(path, end);
      const findings = checkSizes(await openSealed(directory, trustNobody), inventory);
      if (findings.length !== 1 || findings[0]?.file !== name) unnoticed.push(`${name} at ${end}`);
    }
    await writeFile(path, whole);
  }
  expect(unnoticed).toEqual([]);
});

describe('of volumes', () => {
  const names = (): string[] => bundle.inventory.volumes.map(({ name }) => name);

  it.each<[string, (one: string, two: string) => Promise<void>]>([
    [
      'that have changed places',
      async (one, two) => {
        await rename(one, `${one}.x`);
        await rename(two, one);
        await rename(`${one}.x`, two);
      },
    ],
    ['of which one stands for another', async (one, two) => copyFile(one, two)],
    ['of which one is doubled', async (one) => copyFile(one, `${one.slice(0, -8)}0099.tar`)],
    ['of which one has another name', async (one) => rename(one, `${one}.bak`)],
    ['of which one is gone', async (one) => rm(one)],
  ])('%s is noticed', async (_, change) => {
    const [one = '', two = ''] = names().map(file);
    await change(one, two);
    expect(await verdictOf(bundle.directory)).toBe(4);
  });

  it('from another bundle of the same name and sizes is noticed', async () => {
    await using other = await temporaryDirectory();
    const twin = await buildBundle(
      other.path,
      { 'hub/x': 40_000, 'hub/lorge': 150_000, 'oci/d': 30_000 },
      { 'hub/link': 'x' },
    );
    const [name = ''] = names();
    expect((await stat(join(twin.directory, name))).size).toBe((await stat(file(name))).size);
    await copyFile(join(twin.directory, name), file(name));
    expect(await verdictOf(bundle.directory)).toBe(4);
  });
});

it.each([
  ['that this user may not read', 'EACCES', 'NOT PROVEN', 3],
  ['that its medium does not give', 'EIO', 'BAD', 4],
])('a volume %s is told as that', async (_, code, verdict, exit) => {
  const worn = vi.spyOn(HashPool.prototype, 'sha256').mockImplementation(async ([extent]) => {
    if (extent?.path.endsWith('b.0002.tar')) throw Object.assign(new Error(code), { code, syscall: 'read' });
    const bytes = await readFile(extent?.path ?? '');
    return sha256(bytes.subarray(extent?.offset, (extent?.offset ?? 0) + (extent?.size ?? 0))).slice('sha256:'.length);
  });
  const { context } = await testContext({ cwd: place.path });
  const report = await verify({ bundle: bundle.directory }, context);
  await context.close();
  worn.mockRestore();
  expect([report.verdict, report.exit]).toEqual([verdict, exit]);
  const failed = report.items.filter(({ state }) => state === 'failed');
  expect(failed.map(({ name }) => name)).toEqual(failed.map(() => 'b.0002.tar'));
  expect(new Set(failed.map(({ detail }) => detail?.['problem']))).toEqual(new Set(['unreadable']));
});

it('is noticed when a volume of an older bundle of that name stands for its own', async () => {
  await using other = await temporaryDirectory();
  const older = await buildBundle(other.path, { 'hub/a': 40_000, 'hub/large': 140_000, 'oci/c': 30_000 });
  for (const { name } of older.inventory.volumes) {
    const own = await readFile(file(name));
    const old = await readFile(join(older.directory, name));
    await writeFile(file(name), old);
    expect([name, await verdictOf(bundle.directory)]).toEqual([name, own.equals(old) ? 0 : 4]);
    await writeFile(file(name), own);
  }
});

describe('by what is no file', () => {
  const stands: [string, (path: string) => Promise<unknown>][] = [
    ['a pipe, which gives nothing for ever', (path) => promisify(execFile)('mkfifo', [path])],
    ['a link to a device without end', (path) => symlink('/dev/zero', path)],
    ['a link to the same bytes', (path) => symlink(`../${basename(path)}.away`, path)],
    ['a directory', (path) => mkdir(path)],
  ];
  const names = ['b.0001.tar', 'inventory.json', 'VERIFY.md', 'SHA256SUMS', 'SHA256SUMS.sig'];

  it.each(stands.flatMap(([what, make]) => names.map((name) => [what, name, make] as const)))(
    '%s in the place of %s is noticed',
    async (_, name, make) => {
      await rename(file(name), join(place.path, `${name}.away`));
      await make(file(name));
      expect(await verdictOf(bundle.directory)).toBe(4);
    },
  );

  it('a pipe that is named as a bundle is none', async () => {
    const pipe = join(place.path, 'pipe');
    await promisify(execFile)('mkfifo', [pipe]);
    const { context } = await testContext({ cwd: place.path });
    expect(await codeOf(verify({ bundle: pipe }, context))).toBe('E_PATH');
    await context.close();
  });
});

describe('by somebody without the key', () => {
  it('who edits the inventory and makes the sums fit is noticed', async () => {
    const [blob] = bundle.inventory.blobs;
    if (blob) blob.path = 'hub/evil';
    await writeFile(file('inventory.json'), formatInventory(bundle.inventory));
    await sealAgain(bundle, makeKeyPair().privatePem);
    expect(await verdictOf(bundle.directory)).toBe(4);
  });

  it('who brings the signature of another bundle of the same maker is noticed', async () => {
    await using other = await temporaryDirectory();
    const twin = await buildBundle(other.path, { 'hub/x': 10 });
    for (const name of (await readdir(twin.directory)).filter((each) => each.startsWith('SHA256SUMS.')))
      await copyFile(join(twin.directory, name), file(name));
    expect(await verdictOf(bundle.directory)).toBe(4);
  });

  it.each(['SHA256SUMS.sig', 'SHA256SUMS.sigstore.json'])(
    'who takes %s away or empties it is noticed',
    async (name) => {
      await writeFile(file(name), '');
      expect(await verdictOf(bundle.directory)).toBe(4);
      await rm(file(name));
      expect(await verdictOf(bundle.directory)).toBe(4);
    },
  );
});

describe('by the maker, too: what the key has signed is looked at all the same', () => {
  const resealed = async (change: () => Promise<void>): Promise<number> => {
    await change();
    for (const volume of bundle.inventory.volumes) volume.digest = sha256(await readFile(file(volume.name)));
    await writeFile(file('inventory.json'), formatInventory(bundle.inventory));
    await sealAgain(bundle);
    return verdictOf(bundle.directory);
  };
  /** A header that was changed gets the checksum that goes with it: any tar takes it for a good one. */
  const overwrite = async (offset: number, bytes: string): Promise<void> => {
    const volume = await open(file(bundle.inventory.volumes[0]?.name ?? ''), 'r+');
    await volume.write(Buffer.from(bytes, 'latin1'), 0, bytes.length, offset);
    if (offset < 512) {
      const header = Buffer.alloc(512);
      await volume.read(header, 0, 512, 0);
      header.fill(' ', 148, 156);
      const sum = header.reduce((all, byte) => all + byte, 0);
      await volume.write(Buffer.from(`${sum.toString(8).padStart(6, '0')} \0`), 0, 8, 148);
    }
    await volume.close();
  };

  it('as it was made, it is good', async () => {
    expect(await resealed(async () => {})).toBe(0);
  });

  it('a volume that was cut at a block, the last ones above all, is noticed', async () => {
    const [volume] = bundle.inventory.volumes;
    if (!volume) throw new Error('there is no volume');
    const whole = volume.size;
    for (const end of [whole - 512, whole - 1024, whole - 1536, Math.floor(whole / 1024) * 512, 512, 0]) {
      expect(
        await resealed(async () => {
          await truncate(file(volume.name), end);
          volume.size = end;
        }),
      ).toBe(4);
    }
  });

  // The header of the first member: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06
  it.each([
    ['a path that leaves the tree', 0, '../../etc/passwd\\0'],
    ['an absolute path', 0, '/etc/passwd\\0'],
    ['another path', 0, 'hub/b\\0'],
    ['a mode with set-uid', 100, '0004755\\0'],
    ['a negative size', 124, '\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff'],
    ['a huge size', 124, '77777777777\\0'],
    ['a hard link', 156, '1'],
    ['a symbolic link', 156, '2'],
    ['a device', 156, '3'],
    ['a FIFO', 156, '6'],
    ['a GNU long name', 156, 'L'],
    ['a PAX header', 156, 'x'],
    ['a GNU sparse file', 156, 'S'],
    ['a link target', 157, '../../../etc'],
    ['something after the end', 190_000, 'trailing'],
  ])('a member with %s is noticed', async (_, offset, text) => {
    const { size } = bundle.inventory.volumes[0] ?? { size: 0 };
    const bytes = JSON.parse(`"${text.replaceAll('\\x', '\\u00').replaceAll('\\0', '\\u0000')}"`) as string;
    expect(await resealed(() => overwrite(Math.min(offset, size - bytes.length), bytes))).toBe(4);
  });
});
