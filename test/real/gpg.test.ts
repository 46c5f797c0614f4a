import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { binary, projectRoot, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { modelId, startWorld } from '../support/world.ts';
import { findCommand, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';

/** A key of GnuPG signs a bundle: the very commands of the page, and what openssl says of the signature. */

const uid = 'officer@example.org';
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let env: Record<string, string>;
/** The agent's socket lies there, whose path may have 107 bytes only. */
let home: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeAll(async () => {
  if ((await findCommand('gpg-connect-agent')) === undefined) await installPackages(['gpg', 'gpg-agent']);
  [place, home] = await Promise.all([temporaryDirectory(), temporaryDirectory()]);
  await chmod(home.path, 0o700);
  const bin = join(place.path, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, 'sie-mirror'), `#!/bin/sh\nexec "${process.execPath}" "${binary}" "$@"\n`, { mode: 0o755 });
  env = { PATH: `${bin}:${process.env['PATH'] ?? ''}`, GNUPGHOME: home.path, HOME: place.path, KEY: uid };
  await runCommand('gpg', ['--batch', '--passphrase', '', '--quick-generate-key', uid, 'nistp256', 'sign'], { env });
  const world = await startWorld({ weightsBytes: 1024 });
  const online = { cwd: place.path, env: world.online };
  expect(await runCli(['snapshot', modelId], online)).toMatchObject({ code: 0 });
  await world.close();
});

afterAll(async () => {
  await tryCommand('gpgconf', ['--kill', 'gpg-agent'], { env });
  await home[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

/** The blocks of the page's section on GnuPG. */
async function blocks(): Promise<string[]> {
  const page = await readFile(join(projectRoot, 'docs/bundle.md'), 'utf8');
  const section = /## A key of GnuPG\n([\s\S]*?)\n## /.exec(page)?.[1] ?? '';
  return [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
}

it('a bundle is signed by the agent of GnuPG with the commands of the page, and openssl verifies it', async () => {
  const scripts = await blocks();
  expect(scripts).toHaveLength(2);
  for (const script of scripts) {
    const { code, stdout, stderr } = await tryCommand('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: place.path,
      env,
    });
    expect(code, `${script}\n${stdout}${stderr}`).toBe(0);
  }
  const bundle = join(place.path, 'usb/sie-mirror-bundle');
  expect(await runCli(['verify', bundle, '--key', 'gpg.pub.pem'], { cwd: place.path })).toMatchObject({ code: 0 });
  const check =
    'base64 -d SHA256SUMS.sig > ../der && openssl dgst -sha256 -verify ../../gpg.pub.pem -signature ../der SHA256SUMS';
  expect(await runCommand('sh', ['-euc', check], { cwd: bundle, env })).toContain('Verified OK');
});

it('the signature of `gpg --detach-sign` is refused, with what to do instead', async () => {
  await rm(join(place.path, 'usb'), { recursive: true, force: true });
  for (const armour of ['--armor', '--no-armor']) {
    const command = `gpg --batch --detach-sign ${armour} --local-user ${uid}`;
    const args = ['bundle', '--out', 'usb', '--sign-cmd', command, '--sign-pub', 'gpg.pub.pem'];
    const refused = await runCli(args, { cwd: place.path, env });
    expect(refused, refused.stderr).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('agent of GnuPG') as string,
    });
  }
});
