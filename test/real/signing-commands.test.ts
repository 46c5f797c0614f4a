import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fingerprint, readPrivateKey } from '../../src/bundle/proof/seal.ts';
import { binary, projectRoot, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { modelId, startWorld } from '../support/world.ts';
import { findCommand, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';

/** Keys that are no files sign a bundle: the very commands of the page, and what openssl says of the signature. SoftHSM stands for hardware. */

const uid = 'officer@example.org';
const pkcs11Module = '/usr/lib/softhsm/libsofthsm2.so';
const pin = '73901';
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let env: Record<string, string>;
/** The agent's socket lies there, whose path may have 107 bytes only. */
let home: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeAll(async () => {
  const packages = {
    'gpg-connect-agent': ['gpg', 'gpg-agent'],
    'softhsm2-util': ['softhsm2'],
    'pkcs11-tool': ['opensc'],
  };
  for (const [command, needed] of Object.entries(packages))
    if ((await findCommand(command)) === undefined) await installPackages(needed);
  [place, home] = await Promise.all([temporaryDirectory(), temporaryDirectory()]);
  await chmod(home.path, 0o700);
  const bin = join(place.path, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, 'sie-mirror'), `#!/bin/sh\nexec "${process.execPath}" "${binary}" "$@"\n`, { mode: 0o755 });
  const tokens = join(place.path, 'tokens');
  await mkdir(tokens);
  await writeFile(join(place.path, 'softhsm2.conf'), `directories.tokendir = ${tokens}\n`);
  env = {
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    HOME: place.path,
    GNUPGHOME: home.path,
    KEY: uid,
    SOFTHSM2_CONF: join(place.path, 'softhsm2.conf'),
    MODULE: pkcs11Module,
    PIN: pin,
  };
  const token = ['--init-token', '--free', '--label', 'sie', '--so-pin', '12345678', '--pin', pin];
  await runCommand('softhsm2-util', token, { env });
  const pair = ['--login', '--pin', pin, '--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01'];
  await runCommand('pkcs11-tool', ['--module', pkcs11Module, ...pair], { env });
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

/** The blocks of a section of the page. */
async function blocks(section: string): Promise<string[]> {
  const page = await readFile(join(projectRoot, 'docs/bundle.md'), 'utf8');
  const text = page.split(`## ${section}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
}

it.each([
  ['the agent of GnuPG', 'A key of GnuPG', 'gpg.pub.pem'],
  ['a hardware module', 'A key in a hardware module', 'hsm.pub.pem'],
])('a bundle is signed by %s with the commands of the page, and openssl verifies it', async (_, section, publicKey) => {
  await rm(join(place.path, 'usb'), { recursive: true, force: true });
  const scripts = await blocks(section);
  expect(scripts).toHaveLength(2);
  for (const script of scripts) {
    const { code, stdout, stderr } = await tryCommand('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: place.path,
      env,
    });
    expect(code, `${script}\n${stdout}${stderr}`).toBe(0);
  }
  const bundle = join(place.path, 'usb/sie-mirror-bundle');
  expect(await runCli(['verify', bundle, '--key', publicKey], { cwd: place.path })).toMatchObject({ code: 0 });
  const check = `base64 -d SHA256SUMS.sig > ../der && openssl dgst -sha256 -verify ../../${publicKey} -signature ../der SHA256SUMS`;
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

const sealed = ['-passout', 'pass:secret'];
it.each<[string, string[]]>([
  ['the form of before PKCS#8', ['ec']],
  ['that form, encrypted', ['ec', '-aes256', ...sealed]],
  ['PKCS#8', ['pkcs8', '-topk8', '-nocrypt']],
  ['PKCS#8, encrypted by PBES2 with PBKDF2', ['pkcs8', '-topk8', '-v2', 'aes-256-cbc', ...sealed]],
  ['PKCS#8, encrypted by PBES2 with scrypt', ['pkcs8', '-topk8', '-scrypt', ...sealed]],
  ['PKCS#8, encrypted by PBES1', ['pkcs8', '-topk8', '-v1', 'PBE-SHA1-3DES', ...sealed]],
  ['a compressed point', ['ec', '-conv_form', 'compressed']],
  ['a curve that is written out', ['ec', '-param_enc', 'explicit']],
])('a key that openssl wrote in %s is read, and is the same key', async (_, args) => {
  const original = join(place.path, 'original.pem');
  await runCommand('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', original]);
  const [command = '', ...flags] = args;
  const pem = await runCommand('openssl', [command, '-in', original, ...flags]);
  const [here, there] = [await readFile(original, 'utf8'), pem].map((text) =>
    fingerprint(readPrivateKey(text, 'key', 'secret')),
  );
  expect(there).toBe(here);
});
