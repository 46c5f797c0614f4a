import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { s3Env } from '../support/s3-env.ts';
import { pem, tlsPath } from '../support/tls.ts';
import { imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';
import { runCommand } from './command.ts';
import { installedProgram } from './recipe.ts';
import { type RealServer, REGISTRY_PASSWORD, startDistribution, startVersitygw } from './servers.ts';
import { storeKeys } from './stores.ts';
import { installTools, type Tools } from './tools.ts';

/**
 * A bundle on a medium that is mounted read-only, larger than all the disk that there is: a tmpfs, which is home, place of
 * temporary files and working directory. Mounting needs root.
 */

const mebi = 1024 * 1024;
const bucket = 'models';
const user = { user: 'importer', password: REGISTRY_PASSWORD };
let tools: Tools;
let world: World;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let disk: string;
let medium: string;
let s3: RealServer;
let zone: RealServer;

beforeAll(async () => {
  tools = await installTools();
  world = await startWorld({ weightsBytes: 70 * mebi, layerBytes: 4 * mebi });
  place = await temporaryDirectory();
  for (const args of [
    ['snapshot', modelId, '--store', 'store'],
    [
      'copy',
      `${world.source.host}/${imageRepository}:${imageTag}`,
      'oci:store/oci',
      '--insecure-host',
      world.source.host,
    ],
    ['bundle', '--store', 'store', '--out', 'usb', '--name', 'b'],
  ])
    expect(await runCli(args, { cwd: place.path, env: world.online })).toMatchObject({ code: 0 });
  [disk, medium] = [join(place.path, 'disk'), join(place.path, 'medium')] as [string, string];
  for (const each of [disk, medium]) await mkdir(each);
  await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk]);
  await runCommand('mount', ['--bind', join(place.path, 'usb'), medium]);
  await runCommand('mount', ['-o', 'remount,bind,ro', medium]);
  s3 = await startVersitygw(place.path, { buckets: [bucket], ...storeKeys });
  zone = await startDistribution(place.path, {
    auth: user,
    tls: { certificate: tlsPath('server.pem'), key: tlsPath('server.key'), clientAuthority: tlsPath('ca.pem') },
  });
  await login();
});

afterAll(async () => {
  await zone?.stop();
  await s3?.stop();
  for (const each of [medium, disk]) await runCommand('umount', [each]);
  await world?.close();
  await place[Symbol.asyncDispose]();
});

/** As docker leaves it: password, authority and client certificate. */
async function login(): Promise<void> {
  const auth = Buffer.from(`${user.user}:${user.password}`).toString('base64');
  const certificates = `.docker/certs.d/${zone.host}`;
  const files: Record<string, string> = {
    '.docker/config.json': JSON.stringify({ auths: { [zone.host]: { auth } } }),
    [`${certificates}/ca.crt`]: pem('ca.pem'),
    [`${certificates}/client.cert`]: pem('client.pem'),
    [`${certificates}/client.key`]: pem('client.key'),
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(disk, path)), { recursive: true });
    await writeFile(join(disk, path), text);
  }
}

const aws = (): Record<string, string> => s3Env(s3.url, storeKeys);

async function bring(...args: string[]): Promise<CliResult> {
  const env = { ...aws(), HOME: disk, TMPDIR: disk };
  const result = await runCli(['import', join(medium, 'b'), ...args], { cwd: disk, env });
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return result;
}

/** What the disk holds in the end, without what was there before. */
async function left(): Promise<string[]> {
  return (await filesBelow(disk)).filter((path) => !path.startsWith('.docker/'));
}

it('goes into a store and a registry that wants TLS, a certificate and a password, with next to no disk', async () => {
  const volume = await stat(join(medium, 'b/b.0001.tar'));
  expect(volume.size).toBeGreaterThan(64 * mebi);
  await expect(writeFile(join(medium, 'x'), '')).rejects.toThrow('EROFS');

  await bring('--models', `s3://${bucket}/m`, '--images', `${zone.host}/mirror`);
  await bring('--models', `oci://${zone.host}/models`, '--receipt', 'oci.receipt.json');

  expect((await left()).toSorted()).toEqual(['b.receipt.json', 'oci.receipt.json']);
  const verified = ['verify', `s3://${bucket}/m`, '--registry', `${zone.host}/mirror`, '--receipt', 'b.receipt.json'];
  const verdict = await runCli(verified, { cwd: disk, env: { ...aws(), HOME: disk, TMPDIR: disk } });
  expect(verdict, verdict.stderr).toMatchObject({ code: 0 });
});

it('is read back byte for byte by the AWS CLI, and by rclone where it has been built', async () => {
  const folder = `models--${modelId.replace('/', '--')}/snapshots/${world.commit}`;
  const wanted = new Map<string, Buffer>();
  const snapshot = join(place.path, 'store/hub', folder);
  for (const path of await filesBelow(snapshot)) wanted.set(path, await readFile(join(snapshot, path)));
  const remote = [`:s3,provider=Other,env_auth=true,endpoint='${s3.url}':${bucket}/m/${folder}`];
  const readers: Record<string, (out: string) => Promise<string>> = {
    aws: (out) =>
      runCommand(
        tools.aws,
        ['s3', 'sync', '--only-show-errors', '--endpoint-url', s3.url, `s3://${bucket}/m/${folder}`, out],
        {
          env: aws(),
        },
      ),
    ...(existsSync(installedProgram('rclone'))
      ? {
          rclone: (out) =>
            runCommand(installedProgram('rclone'), ['copy', '--config', '/dev/null', ...remote, out], { env: aws() }),
        }
      : {}),
  };
  for (const [name, read] of Object.entries(readers)) {
    const out = join(place.path, `read-${name}`);
    await read(out);
    expect((await filesBelow(out)).toSorted(), name).toEqual([...wanted.keys()].toSorted());
    for (const [path, bytes] of wanted)
      expect((await readFile(join(out, path))).equals(bytes), `${name} ${path}`).toBe(true);
    await rm(out, { recursive: true });
  }
});
