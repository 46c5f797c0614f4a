import { mkdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { buildBundle, type BuiltBundle } from '../support/sealed-bundle.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { findCommand, runCommand } from './command.ts';
import { installPackages } from './debian.ts';
import { installTools, type Tools } from './tools.ts';

/** Volumes are unpacked by the tars that people have, each to the same bytes, names and links. */

const sizes = {
  'hub/a': 1000,
  'hub/empty': 0,
  'hub/größe 量.txt': 700,
  [`hub/${'directory-of-a-long-path/'.repeat(9)}file`]: 3000,
  'hub/large': 150_000,
  'oci/blobs/sha256/x': 60_000,
};
const links = { 'hub/link': 'a', 'hub/snapshots/0/link': '../../größe 量.txt' };
const python = `
import sys, tarfile
for volume in sys.argv[2:]:
    with tarfile.open(volume) as archive:
        archive.extractall(sys.argv[1])
`;

let tools: Tools;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let bundle: BuiltBundle;

beforeAll(async () => {
  tools = await installTools();
  if ((await findCommand('bsdtar')) === undefined) await installPackages(['libarchive-tools']);
  place = await temporaryDirectory();
  bundle = await buildBundle(place.path, sizes, links);
  expect(bundle.inventory.volumes.length).toBeGreaterThan(3);
});

afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

it.each<[string, (volumes: string[], to: string) => Promise<unknown>]>([
  [
    'GNU tar',
    async (volumes, to) => Promise.all(volumes.map((each) => runCommand(tools.tar, ['-xf', each, '-C', to]))),
  ],
  ['bsdtar', async (volumes, to) => Promise.all(volumes.map((each) => runCommand('bsdtar', ['-xf', each, '-C', to])))],
  [
    'tarfile of Python',
    async (volumes, to) => {
      const script = join(place.path, 'unpack.py');
      await writeFile(script, python);
      await runCommand(tools.hubs[0]?.path ?? '', [script, to, ...volumes]);
    },
  ],
])('the volumes are unpacked into what went in by %s', async (name, unpack) => {
  const to = join(place.path, name.replaceAll(' ', '-'));
  await mkdir(to);
  await unpack(
    bundle.inventory.volumes.map((volume) => join(bundle.directory, volume.name)),
    to,
  );
  const found = await filesBelow(to);
  for (const [path, size] of Object.entries(sizes)) {
    // What is larger than a volume comes in parts, which sort in their order.
    const parts = found.filter((each) => each === path || each.startsWith(`${path}.part-`)).sort();
    const bytes = await Promise.all(parts.map((part) => readFile(join(to, part))));
    expect(Buffer.concat(bytes).equals(Buffer.from(seededBytes(path, size))), path).toBe(true);
  }
  for (const [path, target] of Object.entries(links)) expect(await readlink(join(to, path))).toBe(target);
  const partNames = found.filter((path) => path.includes('.part-'));
  expect(found).toHaveLength(Object.keys(sizes).length - 1 + partNames.length + Object.keys(links).length);
});
