import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { verifyGuide } from '../../../src/bundle/writing/guide.ts';
import { endBytes, tarHeader } from '../../../src/bundle/writing/tar-header.ts';
import { type Inventory, inventorySchemaId } from '../../../src/bundle/records/inventory.ts';
import { temporaryDirectory } from '../../support/place.ts';

const digest = `sha256:${'a'.repeat(64)}` as const;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(async () => {
  await place[Symbol.asyncDispose]();
});

/** A bundle of which one file goes over all volumes. */
function guideOf(volumes: number): string {
  const parts = Array.from({ length: volumes }, (_, index) => ({ volume: index + 1, offset: 512, size: 1 }));
  const inventory: Inventory = {
    schema: inventorySchemaId,
    name: 'b',
    tool: 'x',
    items: [],
    blobs: [{ path: 'hub/big', digest, size: volumes, parts }],
    links: [],
    volumes: parts.map(({ volume }) => ({ name: `b.000${volume}.tar`, size: 2048, digest })),
  };
  return verifyGuide(inventory, undefined);
}

function blockOf(guide: string, name: string): string {
  const script = new RegExp(`\`\`\`sh\\n# ${name}\\n([\\s\\S]*?)\`\`\``).exec(guide)?.[1];
  if (script === undefined) throw new Error(`there is no block ${name}`);
  return script;
}

it('joins a file only when all of its parts are unpacked, whatever its folder is called', async () => {
  const folder = join(place.path, 'a folder [1]');
  await mkdir(folder);
  const joinParts = (): string => {
    const env = { ...process.env, UNPACK_DIR: place.path };
    const { status, stdout, stderr } = spawnSync('sh', ['-eu', '-c', blockOf(guideOf(3), 'join')], {
      env,
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    return stdout;
  };
  const part = async (number: number): Promise<void> =>
    writeFile(join(folder, `big.part-000${number}-of-0003`), String(number));
  await part(1);
  await part(2);

  expect(joinParts()).toContain('2 parts of 0003');
  expect(await readdir(folder)).toEqual(['big.part-0001-of-0003', 'big.part-0002-of-0003']);

  await part(3);
  joinParts();
  expect(await readdir(folder)).toEqual(['big']);
  expect(await readFile(join(folder, 'big'), 'utf8')).toBe('123');
});

it('joins no files of a model that are called like parts', async () => {
  await writeFile(join(place.path, 'blob'), 'x');
  for (const number of [1, 2]) await symlink('blob', join(place.path, `own.part-000${number}-of-0002`));
  const env = { ...process.env, UNPACK_DIR: place.path };
  const { status } = spawnSync('sh', ['-eu', '-c', blockOf(guideOf(3), 'join')], { env });
  expect(status).toBe(0);
  expect(await readdir(place.path)).toEqual(['blob', 'own.part-0001-of-0002', 'own.part-0002-of-0002']);
});

it('says how files are found that do not belong to it', async () => {
  const strangers = (): string =>
    spawnSync('sh', ['-eu', '-c', blockOf(guideOf(1), 'file set')], { cwd: place.path, encoding: 'utf8' }).stdout;
  const hex = createHash('sha256').update('').digest('hex');
  await writeFile(join(place.path, 'SHA256SUMS'), `${hex}  b.0001.tar\n`);
  for (const name of ['b.0001.tar', 'SHA256SUMS.sig', 'SHA256SUMS.approval-0123456789abcdef.json'])
    await writeFile(join(place.path, name), '');
  expect(strangers()).toBe('');

  for (const name of ['b.0001.tar.exe', 'b.0001', '.hidden', '..x', '-n', `${hex}  x`, 'SHA256SUMS.approval-x.json'])
    await writeFile(join(place.path, name), '');
  const found = ['-n', '..x', '.hidden', 'SHA256SUMS.approval-x.json', 'b.0001', 'b.0001.tar.exe', `${hex}  x`];
  expect(strangers().trimEnd().split('\n').sort()).toEqual(found.sort());
});

it('says how a medium is checked that has some of the volumes only, where there are several', async () => {
  const sums = blockOf(guideOf(3), 'sha256sum of one medium');
  const check = (): number | null => spawnSync('sh', ['-eu', '-c', sums], { cwd: place.path }).status;
  const hex = createHash('sha256').update('volume').digest('hex');
  await writeFile(join(place.path, 'SHA256SUMS'), `${hex}  b.0001.tar\n${hex}  b.0002.tar\n`);
  await writeFile(join(place.path, 'b.0002.tar'), 'volume');
  expect(check()).toBe(0);

  await writeFile(join(place.path, 'b.0002.tar'), 'damaged');
  expect(check()).not.toBe(0);

  expect(guideOf(1)).not.toContain('of one medium');
});

it('unpacks nothing behind a volume that was cut, and fails', async () => {
  const unpacked = join(place.path, 'unpacked');
  await mkdir(unpacked);
  const volume = (name: string): Buffer =>
    Buffer.concat([tarHeader({ path: name, size: 600 }), Buffer.alloc(1024), Buffer.alloc(endBytes)]);
  await writeFile(join(place.path, 'b.0001.tar'), volume('one').subarray(0, 900));
  await writeFile(join(place.path, 'b.0002.tar'), volume('two'));
  const env = { ...process.env, UNPACK_DIR: unpacked };
  const { status } = spawnSync('sh', ['-c', blockOf(guideOf(2), 'unpack')], { cwd: place.path, env });
  expect(status).not.toBe(0);
  expect(await readdir(unpacked)).not.toContain('two');
});
