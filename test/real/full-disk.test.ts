import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';
import { runCommand, tryCommand } from './command.ts';

/** A file system that is really full; mounting one needs root. */

const mebi = 1024 * 1024;
let world: World;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let small: string;

beforeAll(async () => {
  world = await startWorld({ weightsBytes: 6 * mebi, layerBytes: 3 * mebi });
  place = await temporaryDirectory();
  small = join(place.path, 'small');
  await mkdir(small);
  for (const args of [
    ['snapshot', modelId, '--store', 'store'],
    ['bundle', '--store', 'store', '--out', 'usb', '--name', 'b'],
  ])
    expect(await run(args)).toMatchObject({ code: 0 });
  await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', small]);
});

afterAll(async () => {
  await runCommand('umount', [small]);
  await world.close();
  await place[Symbol.asyncDispose]();
});

const run = (args: string[]): ReturnType<typeof runCli> => runCli(args, { cwd: place.path, env: world.online });

it.each([
  ['snapshot', (): string[] => ['snapshot', modelId, '--store', 'small/store']],
  [
    'copy',
    (): string[] => [
      'copy',
      `${world.source.host}/${imageRepository}:${imageTag}`,
      'oci:small/layout',
      '--insecure-host',
      world.source.host,
    ],
  ],
  ['bundle', (): string[] => ['bundle', '--store', 'store', '--out', 'small/usb']],
  ['import', (): string[] => ['import', 'usb/b', '--models', 'file:small/models', '--receipt', 'r.json']],
])('%s on a full disk says so, names no half file as whole, and goes on when there is room', async (_, args) => {
  const full = await run(args());
  expect(full).toMatchObject({ code: 8, stderr: expect.stringMatching(/space|free/) as string });
  const whole = (await filesBelow(small)).filter(
    (path) => /refs\/|index\.json$|SHA256SUMS$/.test(path) && !path.endsWith('layout/index.json'),
  );
  expect(whole).toEqual([]);
  await runCommand('mount', ['-o', 'remount,size=64m', small]);
  const roomy = await run(args());
  expect(roomy, roomy.stderr).toMatchObject({ code: 0 });
  for (const name of ['store', 'layout', 'usb', 'models'])
    await rm(join(small, name), { recursive: true, force: true });
  await runCommand('mount', ['-o', 'remount,size=4m', small]);
});

it('a store on a full disk is sealed all the same when the medium has room', async () => {
  await runCommand('mount', ['-o', 'remount,size=64m', small]);
  await runCommand('cp', ['-a', join(place.path, 'store'), join(small, 'full')]);
  const filled = await tryCommand('dd', ['if=/dev/zero', `of=${join(small, 'rest')}`, 'bs=4k']);
  expect(filled.stderr).toContain('No space left');

  const sealed = await run([
    'bundle',
    '--store',
    'small/full',
    '--out',
    'roomy',
    '--name',
    'b',
    '--volume-size',
    '1MiB',
  ]);

  expect(sealed, sealed.stderr).toMatchObject({ code: 0 });
  expect(await run(['verify', 'roomy/b'])).toMatchObject({ code: 0 });
  expect((await filesBelow(join(small, 'full'))).filter((path) => /journal|reading|partial/.test(path))).toEqual([]);
});
