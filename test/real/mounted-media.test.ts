import { mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliResult, projectRoot, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { modelId, startWorld } from '../support/world.ts';
import { findCommand, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';

/** Discs and drives as images, mounted by the kernel where it knows their file system, else in user space. Mounting needs root. */

const discs = ['disc1', 'disc2'];
const drives: [string, string[], string[], (image: string, on: string, flags: string) => Promise<unknown>][] = [
  ['exfat', ['exfatprogs', 'exfat-fuse'], ['mkfs.exfat'], mountExfat],
  ['ntfs', ['ntfs-3g'], ['mkfs.ntfs', '-F', '-q'], mountNtfs],
];
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const at = (name: string): string => join(place.path, name);
const run = (args: readonly string[]): Promise<CliResult> => runCli(args, { cwd: place.path });

async function mount(image: string, on: string): Promise<void> {
  await mkdir(on);
  const kernel = await tryCommand('mount', ['-t', 'iso9660', '-o', 'loop,ro', image, on]);
  if (kernel.code !== 0) await runCommand('fuseiso', [image, on]);
}

async function mountExfat(image: string, on: string, flags: string): Promise<void> {
  const kernel = await tryCommand('mount', ['-t', 'exfat', '-o', `loop,${flags}`, image, on]);
  if (kernel.code === 0) return;
  const device = (await runCommand('losetup', ['-f', '--show', image])).trim();
  await runCommand('mount.exfat-fuse', ['-o', flags, device, on]);
  // The device goes when it is unmounted.
  await runCommand('losetup', ['-d', device]);
}

function mountNtfs(image: string, on: string, flags: string): Promise<unknown> {
  return runCommand('ntfs-3g', ['-o', flags, image, on]);
}

beforeAll(async () => {
  for (const program of ['xorriso', 'fuseiso'])
    if ((await findCommand(program)) === undefined) await installPackages([program]);
  place = await temporaryDirectory();
  const world = await startWorld({ weightsBytes: 4 * 1024 * 1024 });
  const online = { cwd: place.path, env: world.online };
  expect(await runCli(['snapshot', modelId, '--store', 'store'], online)).toMatchObject({ code: 0 });
  await world.close();
  expect(await run(['keygen'])).toMatchObject({ code: 0 });
});

afterAll(async () => {
  for (const disc of discs) await tryCommand('umount', [at(`${disc}.mounted`)]);
  await place[Symbol.asyncDispose]();
});

it('a bundle on the images of two discs is verified and imported from them, with the command of the page', async () => {
  // Another size than a disc has, and room for all that goes to each beside the volumes.
  const sizes = ['--volume-size', '1MiB', '--medium-size', '8MiB'];
  const outs = discs.flatMap((disc) => ['--out', disc]);
  const made = await run([
    'bundle',
    ...outs,
    '--store',
    'store',
    '--name',
    'b',
    ...sizes,
    '--sign',
    'sie-mirror.key.pem',
  ]);
  expect(made, made.stderr).toMatchObject({ code: 0 });
  const volumesOn = async (disc: string): Promise<string[]> =>
    (await readdir(at(`${disc}/b`))).filter((name) => name.endsWith('.tar'));
  for (const disc of discs) expect(await volumesOn(disc)).not.toEqual([]);

  const page = await readFile(join(projectRoot, 'docs/bundle.md'), 'utf8');
  const block = /## Discs\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? 'false';
  await runCommand('sh', ['-euc', block], { cwd: place.path });
  for (const disc of discs) await mount(at(`${disc}.iso`), at(`${disc}.mounted`));

  const both = [at('disc1.mounted/b'), '--from', at('disc2.mounted/b'), '--key', 'sie-mirror.pub.pem'];
  const verdict = await run(['verify', ...both]);
  expect(verdict, verdict.stderr + verdict.stdout).toMatchObject({ code: 0 });
  for (const disc of discs)
    expect(await run(['verify', at(`${disc}.mounted/b`), '--partial', '--key', 'sie-mirror.pub.pem'])).toMatchObject({
      code: 0,
    });
  const imported = await run(['import', ...both, '--models', 'file:zone', '--receipt', 'r.json']);
  expect(imported, imported.stderr).toMatchObject({ code: 0 });
});

it.each(drives)(
  'a drive with %s that is too small is filled when there is room, and imported from read-only',
  async (system, packages, make, mountDrive) => {
    if ((await findCommand(make[0] ?? '')) === undefined) await installPackages(packages);
    const [image, drive] = [at(`${system}.img`), at(system)];
    await runCommand('truncate', ['-s', '24M', image]);
    await runCommand(make[0] ?? '', [...make.slice(1), image]);
    await mkdir(drive);
    const bundle = [
      'bundle',
      '--out',
      drive,
      '--store',
      'store',
      '--name',
      'b',
      '--volume-size',
      '1MiB',
      '--sign',
      'sie-mirror.key.pem',
    ];
    const key = ['--key', 'sie-mirror.pub.pem'];
    try {
      await mountDrive(image, drive, 'rw');
      const { bavail, bsize } = await statfs(drive);
      await writeFile(join(drive, 'filler'), Buffer.alloc(bavail * bsize - 6 * 1024 * 1024));
      const full = await run(bundle);
      expect(full, full.stderr).toMatchObject({ code: 8 });
      await rm(join(drive, 'filler'));
      const made = await run(bundle);
      expect(made, made.stderr).toMatchObject({ code: 0 });
      await runCommand('umount', [drive]);

      await mountDrive(image, drive, 'ro');
      const verdict = await run(['verify', join(drive, 'b'), ...key]);
      expect(verdict, verdict.stderr + verdict.stdout).toMatchObject({ code: 0 });
      const target = ['--models', `file:zone-${system}`, '--receipt', `${system}.json`];
      expect(await run(['import', join(drive, 'b'), ...key, ...target])).toMatchObject({ code: 0 });
    } finally {
      await tryCommand('umount', [drive]);
    }
  },
);
