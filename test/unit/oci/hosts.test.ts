import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RegistryEndpoint } from '../../../src/oci/access/access.ts';
import { type HostConfiguration, readHosts } from '../../../src/oci/access/hosts.ts';
import { codeOf, failureOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { pem } from '../../support/tls.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(async () => {
  await place[Symbol.asyncDispose]();
});

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(place.path, path)), { recursive: true });
  await writeFile(join(place.path, path), text);
}

const addresses: Record<string, string> = { 'docker.io': 'registry-1.docker.io' };

async function read(host = 'r.example', origin?: string, named = false): Promise<HostConfiguration | undefined> {
  const direct = { host, origin: origin ?? `https://${addresses[host] ?? host}`, root: '/v2' };
  return readHosts(direct, { root: place.path, named, trusted: () => Promise.resolve([]) });
}

/** What one line `[host."..."]` with these settings makes of a mirror. */
async function mirror(address: string, settings = '', host = 'r.example'): Promise<RegistryEndpoint | undefined> {
  await put(`${host}/hosts.toml`, `[host."${address}"]\n${settings}\n`);
  return (await read(host))?.mirrors[0]?.endpoint;
}

describe('the directory of a registry', () => {
  it.each([
    ['r.example', 'r.example'],
    ['r.example:5000', 'r.example:5000'],
    ['r.example:5000', 'r.example_5000_'],
    ['r.example', '_default'],
  ])('%s may be %s', async (host, directory) => {
    await put(`${directory}/hosts.toml`, '[host."https://m.example"]');

    expect((await read(host))?.mirrors).toHaveLength(1);
  });

  it.each([
    ['r.example', 'r.example:5000'],
    ['r.example:5000', 'r.example'],
  ])('%s is not %s', async (host, directory) => {
    await put(`${directory}/hosts.toml`, '[host."https://m.example"]');

    expect(await read(host)).toBeUndefined();
  });

  it('of its own goes before that for all others', async () => {
    await put('_default/hosts.toml', '[host."https://all.example"]');
    await put('r.example/hosts.toml', '[host."https://own.example"]');

    expect((await read())?.mirrors.map(({ endpoint }) => endpoint.host)).toEqual(['own.example']);
  });

  it('may hold certificates alone', async () => {
    await put('r.example/ca.crt', pem('ca.pem'));

    expect((await read())?.server.endpoint).toMatchObject({ origin: 'https://r.example', tls: { verify: true } });
  });

  it('need not be there, unless its root was named', async () => {
    expect(await read()).toBeUndefined();
    await place[Symbol.asyncDispose]();
    expect(await read()).toBeUndefined();
    expect(await codeOf(read('r.example', undefined, true))).toBe('E_USAGE');
  });
});

describe('the registry itself', () => {
  it('is asked where it always is when the file names no server', async () => {
    await put('docker.io/hosts.toml', '[host."https://m.example"]');

    expect((await read('docker.io'))?.server.endpoint).toEqual({
      host: 'docker.io',
      origin: 'https://registry-1.docker.io',
      root: '/v2',
    });
  });

  it('is itself under the name on which Docker Hub answers', async () => {
    await put('docker.io/hosts.toml', 'server = "https://registry-1.docker.io"');

    expect((await read('docker.io'))?.server.endpoint.host).toBe('docker.io');
    expect((await read('docker.io'))?.server.endpoint.namespace).toBeUndefined();
  });

  it('is another where the file says so, which is told for whom it is asked', async () => {
    await put('r.example/hosts.toml', 'server = "https://other.example"\nskip_verify = true');
    const found = await read();

    expect(found?.server.endpoint).toMatchObject({
      host: 'other.example',
      origin: 'https://other.example',
      namespace: 'r.example',
    });
    expect(found?.unchecked).toEqual(['other.example']);
  });

  it('is asked by plain HTTP when the command line says so', async () => {
    await put('r.example/hosts.toml', 'server = "https://r.example"');

    expect((await read('r.example', 'http://r.example'))?.server.endpoint.origin).toBe('http://r.example');
  });
});

describe('a mirror', () => {
  it.each([
    ['https://m.example', '', 'https://m.example', '/v2'],
    ['https://m.example/', '', 'https://m.example', '/v2'],
    ['m.example', '', 'https://m.example', '/v2'],
    ['http://m.example:5000', '', 'http://m.example:5000', '/v2'],
    ['https://m.example/proxy', '', 'https://m.example', '/proxy/v2'],
    ['https://m.example/v2/proxy', 'override_path = true', 'https://m.example', '/v2/proxy'],
    ['https://m.example/proxy/v2', '', 'https://m.example', '/proxy/v2'],
  ])('at %s %s', async (address, settings, origin, root) => {
    const { host } = new URL(origin);

    expect(await mirror(address, settings)).toEqual({ host, origin, root, namespace: 'r.example' });
  });

  it('comes in the order of the file', async () => {
    const names = ['z', 'a', 'm', '1'].map((name) => `https://${name}.example`);
    await put('r.example/hosts.toml', names.map((name) => `[host."${name}"]`).join('\n'));

    expect((await read())?.mirrors.map(({ endpoint }) => endpoint.origin)).toEqual(names);
  });

  it.each([
    ['', true, true],
    ['capabilities = []', true, true],
    ['capabilities = ["pull"]', false, true],
    ['capabilities = ["resolve"]', true, false],
    ['capabilities = ["push"]', false, false],
    ['capabilities = ["pull", "resolve", "push"]', true, true],
  ])('with %s is asked for tags: %s, for content: %s', async (settings, resolves, pulls) => {
    await mirror('https://m.example', settings);

    expect((await read())?.mirrors[0]).toMatchObject({ resolves, pulls });
  });

  it('may want headers', async () => {
    const endpoint = await mirror('https://m.example', 'header = { X-Team = "a", X-List = ["b", "c"] }');

    expect(endpoint?.headers).toEqual({ 'x-team': 'a', 'x-list': 'b, c' });
  });

  it.each([
    ['an authority', 'ca = "ca.pem"'],
    ['authorities', 'ca = ["ca.pem", "ca.pem"]'],
    ['a client certificate with its key', 'client = [["client.pem", "client.key"]]'],
    ['a client certificate with its key in one file', 'client = "both.pem"'],
    ['several of those', 'client = ["both.pem"]'],
  ])('may have %s, by paths from its directory on', async (_, settings) => {
    for (const name of ['ca.pem', 'client.pem', 'client.key']) await put(`r.example/${name}`, pem(name));
    await put('r.example/both.pem', pem('client.pem') + pem('client.key'));

    expect((await mirror('https://m.example', settings))?.tls?.verify).toBe(true);
  });

  it('that is not checked is told', async () => {
    expect((await mirror('https://m.example', 'skip_verify = true'))?.tls?.verify).toBe(false);
    expect((await read())?.unchecked).toEqual(['m.example']);
  });
});

describe('a file is refused by its name', () => {
  it.each([
    ['that is no TOML', 'server = '],
    ['with a capability that is none', '[host."https://m.example"]\ncapabilities = ["fly"]'],
    ['with another kind of value', '[host."https://m.example"]\nskip_verify = "yes"'],
    ['with an authority that is not there', '[host."https://m.example"]\nca = "none.pem"'],
    ['with an address that is none', '[host."https://["]'],
    ['with a password in an address', '[host."https://me:canary@m.example"]'],
    ['that is no TOML and holds a token', 'header = { authorization = "canary }'],
  ])('%s', async (_, text) => {
    await put('r.example/hosts.toml', text);
    const error = await failureOf(read());

    expect(error.code).toBe('E_USAGE');
    expect(error.message).toMatch(/hosts\.toml|none\.pem/);
    expect(`${error.message} ${error.hint}`).not.toContain('canary');
  });
});
