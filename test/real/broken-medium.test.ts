import { mkdir, readdir, stat, statfs } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { modelId, startWorld } from '../support/world.ts';
import { findCommand, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';

/**
 * Media that fail while a bundle is written to them: read-only, broken, full. A drive that breaks is an image which is cut
 * while it is mounted: what lay behind the cut cannot be read any more. Mounting needs root.
 */

const mebi = 1024 * 1024;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let medium: string;

beforeAll(async () => {
  if ((await findCommand('mkfs.ext2')) === undefined) await installPackages(['e2fsprogs']);
  place = await temporaryDirectory();
  medium = join(place.path, 'medium');
  await mkdir(medium);
  const world = await startWorld({ weightsBytes: 9 * mebi });
  const online = { cwd: place.path, env: world.online };
  expect(await runCli(['snapshot', modelId, '--store', 'store'], online)).toMatchObject({ code: 0 });
  await world.close();
  expect(await runCli(['keygen'], { cwd: place.path })).toMatchObject({ code: 0 });
});

afterEach(async () => {
  await tryCommand('umount', ['-l', medium]);
});

afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

const bundle = (...more: string[]): Promise<CliResult> =>
  runCli(['bundle', '--store', 'store', '--out', 'medium', '--name', 'b', '--volume-size', '1MiB', ...more], {
    cwd: place.path,
  });

const volumes = async (): Promise<string[]> =>
  (await readdir(join(medium, 'b')).catch(() => [])).filter((name) => name.endsWith('.tar')).sort();

const nodesOf = async (names: readonly string[]): Promise<number[]> =>
  Promise.all(names.map(async (name) => (await stat(join(medium, 'b', name))).ino));

it('a medium that breaks in the middle of a bundle is named, and the next run goes on', async () => {
  const image = join(place.path, 'drive.img');
  await runCommand('truncate', ['-s', '64M', image]);
  await runCommand('mkfs.ext2', ['-q', '-F', image]);
  await runCommand('mount', ['-o', 'loop', image, medium]);
  const device = (await runCommand('findmnt', ['-n', '-o', 'SOURCE', medium])).trim();
  // All volumes are there when the command for the signature breaks the drive.
  const whole = `${image}.whole`;
  const breaks = `sync && cp ${image} ${whole} && truncate -s 1M ${image} && blockdev --flushbufs ${device}; cat ${place.path}/none`;
  const broken = await bundle('--sign-cmd', breaks, '--sign-pub', 'sie-mirror.pub.pem');
  expect(broken, broken.stderr).toMatchObject({ code: 4 });
  const again = await bundle();
  expect(again, again.stderr).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/its medium is gone or worn out: `EIO`[^]*hint: put it in again/) as string,
  });

  await runCommand('umount', [medium]);
  await runCommand('mount', ['-o', 'loop', whole, medium]);
  const before = await volumes();
  const nodes = await nodesOf(before);
  const mended = await bundle();
  expect(mended, mended.stderr).toMatchObject({ code: 0 });
  expect(await nodesOf(before)).toEqual(nodes);
  expect(await runCli(['verify', 'medium/b'], { cwd: place.path })).toMatchObject({ code: 0 });
});

it('a medium that is read-only is refused before anything is written, with what to do', async () => {
  await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=64m,ro', 'tmpfs', medium]);
  const refused = await bundle();
  expect(refused, refused.stderr).toMatchObject({
    code: 8,
    stderr: expect.stringMatching(/read-only[^]*hint: mount it/) as string,
  });
  expect((await readdir(join(place.path, 'store'))).filter((name) => name.startsWith('.'))).toEqual([]);
});

it('a medium that becomes read-only in the middle, as systems do where they find a fault, is told as that, and the next run goes on', async () => {
  const image = join(place.path, 'faulty.img');
  await runCommand('truncate', ['-s', '64M', image]);
  await runCommand('mkfs.ext4', ['-q', '-F', image]);
  await runCommand('mount', ['-o', 'loop,errors=remount-ro', image, medium]);
  const device = basename((await runCommand('findmnt', ['-n', '-o', 'SOURCE', medium])).trim());
  const finds = `openssl dgst -sha256 -sign ${place.path}/sie-mirror.key.pem && echo 1 >/sys/fs/ext4/${device}/trigger_fs_error`;
  const signed = (command: string): Promise<CliResult> =>
    bundle('--sign-cmd', command, '--sign-pub', 'sie-mirror.pub.pem');
  const broken = await signed(finds);
  expect(broken, broken.stderr).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/has become read-only[^]*hint: .*fsck/) as string,
  });

  await runCommand('umount', [medium]);
  await runCommand('mount', ['-o', 'loop', image, medium]);
  // As much later as it takes to check a drive; its bytes are lost with the fault.
  await runCommand('touch', ['-d', '1 minute ago', join(medium, '.b.lock')]);
  const nodes = await nodesOf(await volumes());
  const mended = await signed(finds.replace(/ && .*/, ''));
  expect(mended, mended.stderr).toMatchObject({ code: 0 });
  expect(await nodesOf(await volumes())).toEqual(nodes);
});

it('a medium that is full in the middle keeps what it has, and the rest goes to the next one', async () => {
  // Of a few files only: no sum of sizes tells that before.
  await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=64m,nr_inodes=7', 'tmpfs', medium]);
  const full = await bundle();
  expect(full, full.stderr).toMatchObject({ code: 8, stderr: expect.stringContaining('no space left') as string });
  const before = await volumes();
  expect(before.length).toBeGreaterThan(1);
  const nodes = await nodesOf(before);

  const { blocks, bfree, bsize } = await statfs(medium);
  const size = (blocks - bfree) * bsize + 8 * mebi;
  await runCommand('mount', ['-o', `remount,size=${size},nr_inodes=100`, medium]);
  const again = await bundle('--out', 'second');
  expect(again, again.stderr).toMatchObject({ code: 0 });
  expect(await nodesOf(before)).toEqual(nodes);
  expect((await readdir(join(place.path, 'second/b'))).some((name) => name.endsWith('.tar'))).toBe(true);
  const verdict = await runCli(['verify', 'medium/b', '--from', 'second/b'], { cwd: place.path });
  expect(verdict, verdict.stderr).toMatchObject({ code: 0 });
});
