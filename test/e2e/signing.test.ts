import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKeyPair } from '../../src/bundle/proof/seal.ts';
import { readSigningKey } from '../../src/commands/records/signing.ts';
import { type CliResult, projectRoot, runCli } from '../support/cli.ts';
import { testContext } from '../support/context.ts';
import { sealCosignKey } from '../support/cosign-key.ts';
import { temporaryDirectory, textBelow } from '../support/place.ts';
import { waitFor } from '../support/wait.ts';
import { modelId, startWorld } from '../support/world.ts';

const keys = join(projectRoot, 'fixtures/keys');
const passphrase = 'fixture-passphrase';
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const printed: string[] = [];

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> {
  const result = await runCli(args, { cwd: place.path, env });
  printed.push(result.stdout, result.stderr);
  return result;
}

const bundle = (name: string, flags: readonly string[], env: Record<string, string> = {}): Promise<CliResult> =>
  run(['bundle', '--store', 'store', '--out', 'usb', '--name', name, ...flags], env);

beforeAll(async () => {
  place = await temporaryDirectory();
  const world = await startWorld({ weightsBytes: 1024 });
  expect(await run(['snapshot', modelId, '--store', 'store'], world.online)).toMatchObject({ code: 0 });
  await world.close();
  await writeFile(join(place.path, 'passphrase'), `${passphrase}\n`);
  await writeFile(join(place.path, 'wrong'), 'another\n');
});

afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

describe.each([
  ['cosign', 'cosign.key', 'cosign.pub'],
  ['openssl', 'openssl.key.pem', 'openssl.pub.pem'],
])('an encrypted key of %s', (maker, key, publicKey) => {
  const sign = ['--sign', join(keys, key)];

  it('signs with a passphrase from a file or from the environment', async () => {
    expect(await bundle(`${maker}-file`, [...sign, '--passphrase-file', 'passphrase'])).toMatchObject({ code: 0 });
    expect(await bundle(`${maker}-env`, sign, { SIE_MIRROR_PASSPHRASE: passphrase })).toMatchObject({ code: 0 });
    for (const name of [`${maker}-file`, `${maker}-env`])
      expect(await run(['verify', `usb/${name}`, '--key', join(keys, publicKey)])).toMatchObject({ code: 0 });
  });

  it('is refused without a passphrase and with another one, before anything is written', async () => {
    expect(await bundle('none', sign)).toMatchObject({ code: 2 });
    expect(await bundle('none', [...sign, '--passphrase-file', 'wrong'])).toMatchObject({ code: 2 });
    expect(await run(['verify', 'usb/none'])).toMatchObject({ code: 7 });
  });
});

it.each([
  ['without a line feed', passphrase],
  ['with the line end of Windows', `${passphrase}\r\n`],
  ['with more lines, as openssl reads it', `${passphrase}\nand notes\n`],
])('a passphrase file %s opens a key', async (what, text) => {
  await writeFile(join(place.path, 'other-passphrase'), text);
  const flags = ['--sign', join(keys, 'openssl.key.pem'), '--passphrase-file', 'other-passphrase'];
  expect(await bundle(`lines-${what.length}`, flags)).toMatchObject({ code: 0 });
});

it('a key that cosign made of a piped passphrase is opened, of which the line feed is a part', async () => {
  const { context } = await testContext({ cwd: place.path });
  await writeFile(join(place.path, 'piped.key'), sealCosignKey(makeKeyPair().privatePem, 'piped\n'));
  await writeFile(join(place.path, 'piped'), 'piped\n');
  expect((await readSigningKey('piped.key', 'piped', context)).type).toBe('private');
});

it.each<[string, string[]]>([
  ['--sign-pub', ['--sign-pub', join(keys, 'openssl.pub.pem')]],
  ['--passphrase-file', ['--passphrase-file', 'passphrase']],
])('%s alone makes no bundle that is not signed', async (_, flags) => {
  expect(await bundle('unsigned', flags)).toMatchObject({ code: 2 });
});

it('makes no key with an empty passphrase', async () => {
  await writeFile(join(place.path, 'empty'), '\n');
  expect(await run(['keygen', '--out', 'none', '--passphrase-file', 'empty'])).toMatchObject({ code: 2 });
  expect(await run(['keygen', '--out', 'none'], { SIE_MIRROR_PASSPHRASE: '' })).toMatchObject({ code: 2 });
  expect(await readdir(place.path)).not.toContain('none');
});

it('makes an encrypted pair with a passphrase of the environment, and says so', async () => {
  const made = await run(['keygen', '--out', 'by-env'], { SIE_MIRROR_PASSPHRASE: passphrase });
  expect([made.code, made.stdout]).toEqual([0, expect.stringContaining('(encrypted')]);
  expect(await bundle('by-env', ['--sign', 'by-env/sie-mirror.key.pem'])).toMatchObject({ code: 2 });
});

it('makes an encrypted pair that signs', async () => {
  expect(await run(['keygen', '--out', 'own', '--passphrase-file', 'passphrase'])).toMatchObject({ code: 0 });
  expect(await readFile(join(place.path, 'own/sie-mirror.key.pem'), 'utf8')).toContain('ENCRYPTED PRIVATE KEY');
  const flags = ['--sign', 'own/sie-mirror.key.pem', '--passphrase-file', 'passphrase'];
  expect(await bundle('own', flags)).toMatchObject({ code: 0 });
  expect(await run(['verify', 'usb/own', '--key', 'own/sie-mirror.pub.pem'])).toMatchObject({ code: 0 });
});

describe('a command', () => {
  const signer = `const c = require('node:crypto'), f = require('node:fs');
    const key = c.createPrivateKey({ key: f.readFileSync('${join(keys, 'openssl.key.pem')}'), passphrase: '${passphrase}' });
    const der = c.sign('sha256', f.readFileSync(0), key);
    process.stdout.write(process.argv[2] === 'base64' ? der.toString('base64') + '\\n' : der);`;
  const flags = (command: string): string[] => ['--sign-cmd', command, '--sign-pub', join(keys, 'openssl.pub.pem')];
  const node = `"${process.execPath}"`;

  beforeAll(async () => {
    await mkdir(join(place.path, 'hsm'));
    await writeFile(join(place.path, 'hsm/sign.cjs'), signer);
  });

  it.each(['der', 'base64'])('signs in the form of %s', async (form) => {
    expect(await bundle(`cmd-${form}`, flags(`${node} hsm/sign.cjs ${form}`))).toMatchObject({ code: 0 });
    const key = join(keys, 'openssl.pub.pem');
    expect(await run(['verify', `usb/cmd-${form}`, '--key', key])).toMatchObject({ code: 0 });
  });

  it('signs for a second person, whose key never leaves the card', async () => {
    expect(await bundle('two', ['--sign', 'own/sie-mirror.key.pem', '--passphrase-file', 'passphrase'])).toMatchObject({
      code: 0,
    });
    const maker = 'own/sie-mirror.pub.pem';
    const approve = ['approve', 'usb/two', '--maker', maker];

    expect(await run([...approve, ...flags(`${node} hsm/sign.cjs`)])).toMatchObject({ code: 0 });

    const both = ['--require', '2', '--key', maker, '--key', join(keys, 'openssl.pub.pem')];
    expect(await run(['verify', 'usb/two', ...both])).toMatchObject({ code: 0 });
    expect(await run(approve)).toMatchObject({ code: 2 });
    expect(await run([...approve, '--key', 'own/sie-mirror.key.pem', ...flags('true')])).toMatchObject({ code: 2 });
  });

  it('can open what it is to sign by the name /dev/stdin, as pkcs11-tool does', async () => {
    const command = `cat /dev/stdin >seen && ${node} hsm/sign.cjs </dev/stdin`;
    expect(await bundle('by-name', flags(command))).toMatchObject({ code: 0 });
    const [seen, sealed] = await Promise.all(
      ['seen', 'usb/by-name/SHA256SUMS'].map(async (name) => readFile(join(place.path, name), 'utf8')),
    );
    expect(seen).toBe(sealed);
  });

  it('gets it by a pipe where no file can be made', async () => {
    const env = { TMPDIR: join(place.path, 'none') };
    expect(await bundle('by-pipe', flags(`${node} hsm/sign.cjs`), env)).toMatchObject({ code: 0 });
  });

  it.each([
    ['fails', 'exit 3'],
    ['says nothing', 'true'],
    ['writes something else', 'echo hello'],
    ['writes without end', 'yes'],
  ])('that %s seals nothing', async (_, command) => {
    const result = await bundle('cmd-bad', flags(command));
    expect(result.code, result.stderr).toBe(4);
    expect(await run(['verify', 'usb/cmd-bad'])).toMatchObject({ code: 4 });
  });

  it('that does not end is let go of when the bundle is stopped', async () => {
    let kill: (signal: NodeJS.Signals) => void = () => {};
    const args = ['bundle', '--store', 'store', '--out', 'usb', '--name', 'cmd-stopped'];
    const command = 'touch asked; while true; do sleep 0.1; done';
    const onStart = (given: typeof kill): void => void (kill = given);
    const result = runCli([...args, ...flags(command)], { cwd: place.path, onStart });
    await waitFor('the command is asked', async () => (await readdir(place.path)).includes('asked'));
    kill('SIGTERM');
    const { code, stderr } = await result;
    expect([code, stderr]).toEqual([143, expect.stringContaining('run the same command again')]);
  });

  it('that takes so long that the medium is pulled meanwhile seals no empty directory in its place', async () => {
    const result = await bundle('pulled', flags(`mv usb/pulled gone && ${node} hsm/sign.cjs`));
    expect([result.code, result.stderr]).toEqual([3, expect.stringContaining('put it in again')]);
    expect(await readdir(join(place.path, 'usb/pulled')).catch(() => [])).not.toContain('SHA256SUMS');
  });

  it('that failed is asked again by the next run, which writes no volume again', async () => {
    expect(await bundle('again', flags('exit 3'))).toMatchObject({ code: 4 });
    const volume = join(place.path, 'usb/again/again.0001.tar');
    const { ino } = await stat(volume);
    expect(await bundle('again', flags(`${node} hsm/sign.cjs`))).toMatchObject({ code: 0 });
    expect((await stat(volume)).ino).toBe(ino);
  });

  it('is told how the agent of GnuPG signs when it writes an OpenPGP signature', async () => {
    const result = await bundle('gpg', flags('echo -----BEGIN PGP SIGNATURE-----'));
    expect([result.code, result.stderr]).toEqual([4, expect.stringContaining('agent of GnuPG')]);
  });

  it('needs the public key, and excludes a key file', async () => {
    expect(await bundle('x', ['--sign-cmd', 'true'])).toMatchObject({ code: 2 });
    expect(await bundle('x', [...flags('true'), '--sign', join(keys, 'cosign.key')])).toMatchObject({ code: 2 });
  });
});

it('prints no passphrase and writes none', async () => {
  await cp(join(place.path, 'usb'), join(place.path, 'looked-at'), { recursive: true });
  expect(`${printed.join('\n')}${await textBelow(join(place.path, 'looked-at'))}`).not.toContain(passphrase);
});
