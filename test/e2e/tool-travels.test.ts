import { chmod, copyFile, cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSums } from '../../src/bundle/proof/seal.ts';
import { readNodes } from '../../src/commands/bundle/node.ts';
import { type CliResult, projectRoot, runCli } from '../support/cli.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { temporaryDirectory } from '../support/place.ts';
import { tarOf } from '../support/tar.ts';
import { modelId, startWorld } from '../support/world.ts';

/** What a bundle brings along so that the zone needs nothing: the tool, licences, Node.js. */

const platform = `${process.platform}-${process.arch}`;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const run = (args: readonly string[]): Promise<CliResult> => runCli(args, { cwd: place.path });
const bundle = (name: string, ...flags: string[]): Promise<CliResult> =>
  run(['bundle', '--store', 'store', '--out', 'usb', '--name', name, '--sign', 'sie-mirror.key.pem', ...flags]);
const inBundle = (name: string, file = ''): string => join(place.path, 'usb', name, file);

beforeAll(async () => {
  place = await temporaryDirectory();
  const world = await startWorld({ weightsBytes: 1024 });
  expect(await runCli(['snapshot', modelId, '--store', 'store'], { cwd: place.path, env: world.online })).toMatchObject(
    {
      code: 0,
    },
  );
  await world.close();
  expect(await run(['keygen'])).toMatchObject({ code: 0 });
});

afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

/** Runs a shell script where nothing but these programs can be found: no Node.js. */
function runWithout(script: string, cwd: string, env: Record<string, string>): ReturnType<typeof spawnSync> {
  return spawnSync('/bin/sh', ['-euc', script], {
    cwd,
    env: { ...env, PATH: join(place.path, 'few') },
    encoding: 'utf8',
  });
}

describe('a bundle with the Node.js of this machine', () => {
  beforeAll(async () => {
    const few = join(place.path, 'few');
    await mkdir(few);
    for (const name of ['cp', 'chmod', 'mktemp']) {
      const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
      await symlink(found, join(few, name));
    }
    // As an unpacked release has it, with its licence.
    await mkdir(join(place.path, 'release/bin'), { recursive: true });
    await symlink(process.execPath, join(place.path, 'release/bin/node'));
    await writeFile(join(place.path, 'release/LICENSE'), 'Node.js is licensed for use as follows:\n');
    const made = await bundle('full', '--with-node', `${platform}=release/bin/node`);
    expect(made, made.stderr).toMatchObject({ code: 0 });
  });

  it('has it in the sums, with its licence, and verifies', async () => {
    const sums = parseSums(await readFile(inBundle('full', 'SHA256SUMS'), 'utf8'));
    for (const name of ['sie-mirror.mjs', 'LICENSES.txt', `node-${platform}`, `node-${platform}.LICENSE.txt`])
      expect([...sums.keys()]).toContain(name);
    expect((await readFile(process.execPath)).equals(await readFile(inBundle('full', `node-${platform}`)))).toBe(true);
    expect(await run(['verify', 'usb/full', '--key', 'sie-mirror.pub.pem'])).toMatchObject({ code: 0 });
  });

  it('is verified and imported by who has only the drive, where nothing on it may run', async () => {
    // The modes of a drive that is mounted noexec, and of FAT.
    await chmod(inBundle('full', `node-${platform}`), 0o444);
    const env = { PUBLIC_KEY: join(place.path, 'sie-mirror.pub.pem'), TMPDIR: place.path, HOME: place.path };
    expect(runWithout('node --version', place.path, env).status).not.toBe(0);
    const guide = await readFile(inBundle('full', 'VERIFY.md'), 'utf8');
    const block = new RegExp(`\`\`\`sh\\n(# tool with node-${platform}\\n[\\s\\S]*?)\`\`\``).exec(guide)?.[1] ?? '';

    const verified = runWithout(block, inBundle('full'), env);
    expect([verified.status, verified.stdout]).toEqual([0, expect.stringMatching(/^GOOD:/m)]);

    const imported = runWithout(
      `${block}\n"$NODE" sie-mirror.mjs import . --key "$PUBLIC_KEY" --models "file:$HOME/zone" --receipt "$HOME/r.json"`,
      inBundle('full'),
      env,
    );
    expect(imported.status, String(imported.stderr)).toBe(0);
    expect(await readdir(join(place.path, 'zone'))).toContain(`models--${modelId.replace('/', '--')}`);
  });

  it('is damaged when another program stands there', async () => {
    await cp(inBundle('full'), inBundle('changed'), { recursive: true });
    await chmod(inBundle('changed', `node-${platform}`), 0o644);
    await writeFile(inBundle('changed', `node-${platform}`), 'evil');
    const verdict = await run(['verify', 'usb/changed', '--key', 'sie-mirror.pub.pem']);
    expect([verdict.code, verdict.stdout]).toEqual([4, expect.stringContaining(`node-${platform}`)]);
  });
});

/** The first bytes of a program, as https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html and others have it. */
function head(kind: 'elf' | 'mach' | 'pe', machine: number, says = ''): Buffer {
  const bytes = Buffer.alloc(600);
  if (kind === 'elf') bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, machine & 0xff, 0]);
  if (kind === 'mach') {
    bytes.writeUInt32LE(0xfeedfacf, 0);
    bytes.writeUInt32LE(machine, 4);
  }
  if (kind === 'pe') {
    bytes.write('MZ', 0);
    bytes.writeUInt32LE(0x80, 0x3c);
    bytes.write('PE\0\0', 0x80);
    bytes.writeUInt16LE(machine, 0x84);
  }
  bytes.write(says, 200);
  return bytes;
}

const release = (version: string): string => `/release/v${version}/node-v${version}.tar.gz`;

describe('--with-node', () => {
  const put = async (name: string, bytes: Uint8Array): Promise<string> => {
    await writeFile(join(place.path, name), bytes);
    return name;
  };

  it('takes programs of several platforms, out of release archives too, and names each in VERIFY.md', async () => {
    const archive = tarOf([
      { path: 'node-v24.1.0-linux-arm64/LICENSE', bytes: Buffer.from('Node.js is licensed for use as follows:\n') },
      { path: 'node-v24.1.0-linux-arm64/bin/node', bytes: head('elf', 0xb7, release('24.1.0')) },
    ]);
    const flags = [
      `linux-arm64=${await put('node.tar.gz', gzipSync(archive))}`,
      `darwin-arm64=${await put('node-mac', head('mach', 0x0100000c, release('22.3.0')))}`,
      `win-x64=${await put('node.exe', head('pe', 0x8664))}`,
    ].flatMap((choice) => ['--with-node', choice]);
    const made = await bundle('many', ...flags);
    expect(made, made.stderr).toMatchObject({ code: 0 });
    expect(await readFile(inBundle('many', 'node-linux-arm64'))).toEqual(head('elf', 0xb7, release('24.1.0')));
    const guide = await readFile(inBundle('many', 'VERIFY.md'), 'utf8');
    for (const name of ['node-linux-arm64', 'node-darwin-arm64', 'node-win-x64.exe']) expect(guide).toContain(name);
    expect(made.stderr).toContain('LICENSE');
    expect(await run(['verify', 'usb/many', '--key', 'sie-mirror.pub.pem'])).toMatchObject({ code: 0 });
  });

  it.each<[string, string, Uint8Array]>([
    ['a program for another platform', 'linux-x64', head('elf', 0xb7)],
    ['a program for another system', 'darwin-arm64', head('elf', 0xb7)],
    ['something else', 'linux-x64', Buffer.from('#!/bin/sh\nexec node "$@"\n'.repeat(10))],
    ['a release that is too old', 'linux-x64', head('elf', 0x3e, release('20.18.3'))],
    ['an archive that cannot be read here', 'win-x64', Buffer.from('PK\u0003\u0004 and so on')],
    ['an archive of something else', 'linux-x64', gzipSync(tarOf([{ path: 'x/README', bytes: Buffer.from('x') }]))],
    ['a platform that there is not', 'plan9-x64', head('elf', 0x3e)],
  ])('refuses %s', async (_, wanted, bytes) => {
    const { context } = await testContext({ cwd: place.path });
    expect(await codeOf(readNodes([`${wanted}=${await put('given', bytes)}`], context))).toBe('E_USAGE');
  });

  it('refuses an archive that is cut off, and one platform twice', async () => {
    const { context } = await testContext({ cwd: place.path });
    const archive = gzipSync(tarOf([{ path: 'n/bin/node', bytes: head('elf', 0x3e) }]));
    const cut = `linux-x64=${await put('cut', archive.subarray(0, -20))}`;
    expect(await codeOf(readNodes([cut], context))).toBe('E_CORRUPT');
    const twice = `linux-x64=${await put('program', head('elf', 0x3e))}`;
    expect(await codeOf(readNodes([twice, twice], context))).toBe('E_USAGE');
  });

  it('is looked at before anything is written', async () => {
    expect(await bundle('none', '--with-node', 'linux-x64=nowhere')).toMatchObject({ code: 7 });
    expect(await readdir(join(place.path, 'usb'))).not.toContain('none');
  });
});

describe('licences', () => {
  it('are there of every package that the one file is made of', async () => {
    // The same program in several files: the one file has no comments.
    const pieces = (await readdir(join(projectRoot, 'dist/app'))).map((name) => join(projectRoot, 'dist/app', name));
    const tool = (await Promise.all(pieces.map((path) => readFile(path, 'utf8')))).join('\n');
    const licences = await readFile(join(projectRoot, 'dist/LICENSES.txt'), 'utf8');
    // esbuild writes above each piece where it comes from.
    const found = tool.matchAll(/^\s*\/\/ (?:.*\/)?node_modules\/((?:@[^/\s]+\/)?[^/\s]+)\//gm);
    const packages = new Set([...found].map((match) => match[1] ?? ''));
    expect(packages.size).toBeGreaterThan(20);
    for (const name of packages) expect(licences).toMatch(new RegExp(`^${name} \\d`, 'm'));
    expect(licences).toMatch(/^sie-mirror \d[\s\S]*Apache License/m);
  });

  it('have to be where the tool is', async () => {
    await mkdir(join(place.path, 'alone'));
    await copyFile(join(projectRoot, 'dist/sie-mirror.mjs'), join(place.path, 'alone/sie-mirror.mjs'));
    const args = ['bundle', '--store', 'store', '--out', 'usb', '--name', 'alone'];
    const result = await runCli(args, { cwd: place.path, program: join(place.path, 'alone/sie-mirror.mjs') });
    expect([result.code, result.stderr]).toEqual([7, expect.stringContaining('LICENSES.txt')]);
  });
});
