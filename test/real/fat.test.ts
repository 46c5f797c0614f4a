import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { modelId, startWorld } from '../support/world.ts';
import { runCommand } from './command.ts';
import { type FatMedium, formatFat, makeFatMedium } from './fat-medium.ts';

/**
 * A FAT32 image as the medium, filled to its last cluster. The kernel mounts it where it knows FAT, else fusefat does;
 * what stands in it in the end is read by mtools, which trusts neither. Mounting needs root.
 */

const mebi = 1024 * 1024;
const cluster = 512;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let image: string;
let medium: string;
let mount: FatMedium['mount'];
let unmount: FatMedium['unmount'];

const run = (args: readonly string[]): Promise<CliResult> => runCli(args, { cwd: place.path });
const bundleTo = (out: string): Promise<CliResult> =>
  run([
    'bundle',
    '--store',
    'store',
    '--out',
    out,
    '--name',
    'site-a',
    '--volume-size',
    '2MiB',
    '--sign',
    'sie-mirror.key.pem',
  ]);
const verified = (bundle: string): Promise<CliResult> => run(['verify', bundle, '--key', 'sie-mirror.pub.pem']);

async function freeBytes(): Promise<number> {
  const listing = await runCommand('mdir', ['-i', image, '::']);
  return Number((/([\d ]+) bytes free/.exec(listing)?.[1] ?? '').replaceAll(' ', ''));
}

/** A new image with this much room, the rest of it taken by a file that somebody else left there. */
async function makeImage(room: number): Promise<void> {
  await formatFat(image, 48 * mebi, cluster);
  const filler = join(place.path, 'filler');
  await runCommand('truncate', ['-s', String((await freeBytes()) - room), filler]);
  await runCommand('mcopy', ['-i', image, filler, '::filler']);
  expect(await freeBytes()).toBe(room);
}

/** What a bundle takes of a medium: whole clusters, and those of its directory. */
async function clustersOf(bundle: string): Promise<number> {
  const files = await Promise.all(
    (await filesBelow(bundle)).map(async (name) => ({ name, size: (await stat(join(bundle, name))).size })),
  );
  const data = files.reduce((sum, { size }) => sum + Math.ceil(size / cluster), 0);
  // An entry has 32 bytes, and one more for every 13 letters of a long name; names with `.partial` come and go.
  const entries = files.reduce((sum, { name }) => sum + 2 + Math.ceil((name.length + 20) / 13) * 2, 8);
  return data + Math.ceil((entries * 32) / cluster) + 4;
}

beforeAll(async () => {
  place = await temporaryDirectory();
  ({ image, path: medium, mount, unmount } = await makeFatMedium(place.path));
  const world = await startWorld({ weightsBytes: 9 * mebi });
  const online = { cwd: place.path, env: world.online };
  expect(await runCli(['snapshot', modelId, '--store', 'store'], online)).toMatchObject({ code: 0 });
  await world.close();
  expect(await run(['keygen'])).toMatchObject({ code: 0 });
  expect(await bundleTo('plain')).toMatchObject({ code: 0 });
});

afterAll(async () => {
  await unmount();
  await place[Symbol.asyncDispose]();
});

it('a bundle that fills a FAT medium to its last clusters is whole, and imported from it read-only', async () => {
  await makeImage((await clustersOf(join(place.path, 'plain/site-a'))) * cluster);
  await mount('rw');
  const made = await bundleTo('medium');
  expect(made, made.stderr).toMatchObject({ code: 0 });
  await unmount();
  expect(await freeBytes()).toBeLessThan(64 * 1024);

  await mount('ro');
  expect(await verified('medium/site-a')).toMatchObject({ code: 0 });
  const key = ['--key', 'sie-mirror.pub.pem'];
  const imported = await run(['import', 'medium/site-a', ...key, '--models', 'file:zone', '--receipt', 'r.json']);
  expect(imported, imported.stderr).toMatchObject({ code: 0 });
  await unmount();

  await mkdir(join(place.path, 'by-mtools'));
  await runCommand('mcopy', ['-s', '-i', image, '::site-a', join(place.path, 'by-mtools')]);
  const copied = join(place.path, 'by-mtools/site-a');
  expect((await readdir(copied)).sort()).toEqual((await readdir(join(place.path, 'plain/site-a'))).sort());
  await runCommand('sha256sum', ['-c', '--quiet', 'SHA256SUMS'], { cwd: copied });
});

it('one that does not fit says so, leaves nothing that passes for a bundle, and goes on when there is room', async () => {
  await makeImage((await clustersOf(join(place.path, 'plain/site-a'))) * cluster - 3 * mebi);
  await mount('rw');
  const full = await bundleTo('medium');
  // fusefat has another error for it than the kernel.
  expect(full, full.stderr).toMatchObject({ code: 8 });
  expect(await readdir(join(medium, 'site-a')).catch(() => [])).not.toContain('SHA256SUMS');

  await runCommand('rm', [join(medium, 'filler')]);
  const roomy = await bundleTo('medium');
  expect(roomy, roomy.stderr).toMatchObject({ code: 0 });
  expect(await verified('medium/site-a')).toMatchObject({ code: 0 });
  const [here, there] = [medium, join(place.path, 'plain')].map((path) => join(path, 'site-a/SHA256SUMS'));
  expect(await readFile(here ?? '', 'utf8')).toBe(await readFile(there ?? '', 'utf8'));
});
