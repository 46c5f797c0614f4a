import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { buildImage } from '../support/images.ts';
import { temporaryDirectory, textBelow } from '../support/place.ts';
import { startProxy } from '../support/proxy.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from '../support/registry.ts';
import { serverTls, tlsPath } from '../support/tls.ts';

/** Secrets reach whom they are for, and nothing that is printed or written. */

const password = 'canary-password';
const identity = 'canary-identity';
const login = Buffer.from(`me:${password}`).toString('base64');
/** The tokens of the registry begin so. */
const secrets = new RegExp(['canary', login, 'test-token-'].join('|'));
const image = buildImage({ seed: 'secret', layers: 2 });

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let registry: TestRegistry;

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(async () => {
  await registry.close();
  await place[Symbol.asyncDispose]();
});

async function start(options: RegistryOptions): Promise<void> {
  registry = await startRegistry({ redirectBlobs: true, ...options });
  registry.put('team/app', image, 'v1');
}

async function remember(entry: object): Promise<void> {
  await mkdir(join(place.path, 'settings'), { recursive: true });
  const auths = { [registry.host]: entry };
  await writeFile(join(place.path, 'settings/config.json'), JSON.stringify({ auths }));
}

async function copied(args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> {
  const command = ['copy', `${registry.host}/team/app:v1`, 'oci:out', '-v', '--json', '--retries', '0', ...args];
  const result = await runCli(command, {
    cwd: place.path,
    env: { DOCKER_CONFIG: join(place.path, 'settings'), ...env },
  });
  expect(`${result.stdout}\n${result.stderr}`).not.toMatch(secrets);
  expect(await textBelow(join(place.path, 'out')).catch(() => '')).not.toMatch(secrets);
  return result;
}

const insecure = (): string[] => ['--insecure-host', registry.host];

describe('a password', () => {
  it.each<[string, NonNullable<RegistryOptions['auth']>]>([
    ['is shown to a registry', { kind: 'basic', user: 'me', password }],
    ['is shown to a token server', { kind: 'bearer', user: 'me', password }],
  ])('%s and nowhere else', async (_, auth) => {
    await start({ auth });
    await remember({ auth: login });
    const result = await copied(insecure());

    expect(result, result.stderr).toMatchObject({ code: 0 });
    expect(JSON.stringify(registry.server.requests)).toContain(login);
    expect(registry.cdn.requests.length).toBeGreaterThan(0);
    expect(JSON.stringify(registry.cdn.requests)).not.toMatch(secrets);
  });

  it.each<[string, NonNullable<RegistryOptions['auth']>]>([
    ['a registry', { kind: 'basic', user: 'me', password: 'another' }],
    ['a token server', { kind: 'bearer', user: 'me', password: 'another' }],
  ])('that %s refuses is not printed', async (_, auth) => {
    await start({ auth });
    await remember({ auth: login });

    expect(await copied(insecure())).toMatchObject({ code: 6 });
    expect(JSON.stringify(registry.server.requests)).toContain(login);
  });

  it('in a damaged file is not printed', async () => {
    await start({ auth: { kind: 'basic', user: 'me', password } });
    await mkdir(join(place.path, 'settings'));
    await writeFile(join(place.path, 'settings/config.json'), `{"auths": {"x": {"auth": "${login}"`);

    expect(await copied(insecure())).toMatchObject({ code: 2 });
  });

  it('for a proxy is not printed when it is refused', async () => {
    await start({});
    await using proxy = await startProxy({ login: 'me:another' });
    const port = registry.host.split(':')[1];
    const result = await runCli(
      ['copy', `registry.example:${port}/team/app:v1`, 'oci:out', '-v', '--json', '--retries', '0'],
      { cwd: place.path, env: { HTTPS_PROXY: `http://me:${password}@${proxy.host}` } },
    );

    expect(result).toMatchObject({ code: 6 });
    expect(result.stderr).toContain(proxy.host);
    expect(`${result.stdout}\n${result.stderr}`).not.toMatch(secrets);
  });
});

describe('an identity token', () => {
  it('is shown to the token server and nowhere else', async () => {
    await start({ auth: { kind: 'bearer', user: 'me', password: 'another', refreshToken: identity } });
    await remember({ identitytoken: identity });

    expect(await copied(insecure())).toMatchObject({ code: 0 });
    expect(registry.server.count(/^POST \/token$/)).toBe(1);
    expect(JSON.stringify([registry.server.requests, registry.cdn.requests])).not.toContain(identity);
  });

  it('that is refused is not printed', async () => {
    await start({ auth: { kind: 'bearer', user: 'me', password: 'another', refreshToken: 'another' } });
    await remember({ identitytoken: identity });

    expect(await copied(insecure())).toMatchObject({ code: 6 });
  });
});

describe('over TLS', () => {
  it.each<[string, (path: string) => string[], (path: string) => Record<string, string>, number]>([
    ['--ca', (path) => ['--ca', path], () => ({}), 0],
    ['NODE_EXTRA_CA_CERTS', () => [], (path) => ({ NODE_EXTRA_CA_CERTS: path }), 0],
    ['both', (path) => ['--ca', path], (path) => ({ NODE_EXTRA_CA_CERTS: path }), 0],
    ['neither', () => [], () => ({}), 5],
  ])('an authority is named by %s', async (_, args, env, code) => {
    await start({ tls: serverTls(), redirectBlobs: false });
    const ca = tlsPath('ca.pem');

    expect(await copied(args(ca), env(ca))).toMatchObject({ code });
  });
});

it('a password that was typed into an address is not repeated', async () => {
  await start({});
  const runs = [
    ['copy', `https://me:${password}@${registry.host}/team/app:v1`, 'oci:out'],
    ['copy', `${registry.host}/team/app:v1`, `me:${password}@zone.example/app`],
    ['snapshot', `https://me:${password}@huggingface.co/org/name`],
  ];
  for (const args of runs) {
    const { code, stdout, stderr } = await runCli([...args, '--json', '--progress', 'json', '-v'], { cwd: place.path });
    expect(code).toBe(2);
    expect(stdout + stderr).not.toContain(password);
  }
});
