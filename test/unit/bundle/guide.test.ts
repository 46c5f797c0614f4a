import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { verifyGuide } from '../../../src/bundle/guide.ts';
import { type Inventory, inventorySchemaId } from '../../../src/bundle/inventory.ts';
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

it('says how a medium is checked that has some of the volumes only, where there are several', async () => {
  const sums = blockOf(guideOf(3), 'sha256sum of one medium');
  const check = (): number | null => spawnSync('sh', ['-eu', '-c', sums], { cwd: place.path }).status;
  const hex = createHash('sha256').update('volume').digest('hex');
  await writeFile(join(place.path, 'SHA256SUMS'), `${hex}  b.0001.tar\n${hex}  b.0002.tar\n`);
  await writeFile(join(place.path, 'b.0002.tar'), 'volume');
  expect(check()).toBe(0);

  await writeFile(join(place.path, 'b.0002.tar'), 'damaged');
  expect(check()).not.toBe(0);

  expect(guideOf(1)).not.toContain('--ignore-missing');
});
