import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { startHub, type TestHub } from '../support/hub.ts';
import { temporaryDirectory } from '../support/place.ts';
import { tinyModel } from '../support/repos.ts';
import { findCommand, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';

/**
 * A store on a disk whose power is cut: the disk is an image, and a copy of it holds what had been written to it by then,
 * and nothing that the system still had in memory. Mounting needs root.
 */

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let hub: TestHub;
let commit: string;
let at: string;

beforeAll(async () => {
  const programs = { 'mkfs.btrfs': 'btrfs-progs', 'mkfs.ext2': 'e2fsprogs' };
  const found = await Promise.all(Object.keys(programs).map(findCommand));
  const missing = Object.values(programs).filter((_, index) => found[index] === undefined);
  if (missing.length > 0) await installPackages(missing);
  place = await temporaryDirectory();
  at = join(place.path, 'disk');
  await mkdir(at);
  hub = await startHub();
  ({ commit } = hub.addRepo({ id: 'org/name', files: tinyModel(3) }));
  const options = { cwd: place.path, env: { HF_ENDPOINT: hub.url } };
  expect(await runCli(['snapshot', 'org/name', '--store', 'other'], options)).toMatchObject({ code: 0 });
});

afterEach(async () => {
  await tryCommand('umount', [at]);
});

afterAll(async () => {
  await hub?.close();
  await place?.[Symbol.asyncDispose]();
});

const files = { HF_HUB_DISABLE_SYMLINKS: '1' };

it.each<[string, string, string[], string[], Record<string, string>]>([
  ['links, on btrfs', '120M', ['mkfs.btrfs', '-q'], [], {}],
  ['files, where there is no journal', '16M', ['mkfs.ext2', '-q'], [], files],
  ['adopted files, where there is no journal', '16M', ['mkfs.ext2', '-q'], ['--adopt', 'other/hub'], files],
])('what a ref leads to is there after the power was cut: %s', async (_, size, [mkfs = '', ...flags], args, env) => {
  const image = join(place.path, `${mkfs}.img`);
  await runCommand('truncate', ['-s', size, image]);
  await runCommand(mkfs, [...flags, image]);
  await runCommand('mount', ['-o', 'loop', image, at]);
  const store = join(at, 'store');
  const snapshot = (...args: string[]): ReturnType<typeof runCli> =>
    runCli(['snapshot', ...args, '--store', store], { cwd: place.path, env: { HF_ENDPOINT: hub.url, ...env } });

  const made = await snapshot('org/name', ...args);
  expect(made, made.stderr).toMatchObject({ code: 0 });
  await copyFile(image, `${image}.cut`);
  await runCommand('umount', [at]);
  await runCommand('mount', ['-o', 'loop', `${image}.cut`, at]);

  expect(await readFile(join(store, 'hub/models--org--name/refs/main'), 'utf8')).toBe(commit);
  const checked = await snapshot('--offline');
  expect(checked, checked.stderr).toMatchObject({ code: 0 });
});
