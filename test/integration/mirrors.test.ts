import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { copy } from '../../src/commands/copy.ts';
import { testContext, type TestContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { buildArtifact, buildImage, type BuiltImage, descriptorOf } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from '../support/registry.ts';
import type { FaultPlan } from '../support/server.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { pem, serverTls } from '../support/tls.ts';

/** Registries with mirrors, from hosts.toml to a layout. */

const repository = 'team/app';
const unreachable = '127.0.0.1:9';
const image = buildImage({ seed: 'mirrored', layers: 2 });
const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(image) });

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let test: TestContext;
let registries: TestRegistry[];

beforeEach(async () => {
  place = await temporaryDirectory();
  registries = [];
});

afterEach(async () => {
  await test?.context.close();
  for (const registry of registries) await registry.close();
  await place[Symbol.asyncDispose]();
});

async function start(images: readonly BuiltImage[], options: RegistryOptions = {}): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  registries.push(registry);
  for (const each of images) registry.put(repository, each, each === image ? 'v1' : undefined);
  return registry;
}

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(place.path, path)), { recursive: true });
  await writeFile(join(place.path, path), text);
}

/** Copies `REGISTRY/team/app:v1` to a layout, by what stands in hosts.toml. */
async function copyFrom(registry: string, hosts: string, referrers = true): Promise<string[]> {
  await put(`hosts/${registry}/hosts.toml`, hosts);
  test = await testContext({ cwd: place.path, hostsDir: 'hosts', insecureHosts: [registry] });
  const report = await copy({ source: `${registry}/${repository}:v1`, target: 'oci:layout', referrers }, test.context);
  expect(report.ok).toBe(true);
  return test.events.filter(({ type }) => type === 'note' || type === 'warning').map((event) => JSON.stringify(event));
}

const mirrorLine = ({ url }: TestRegistry, settings = ''): string => `[host."${url}"]\n${settings}\n`;
const reads = (registry: TestRegistry): number => registry.server.count(/^GET .*\/(?:blobs|manifests)\/sha256:/);

describe('an image', () => {
  it('comes from the mirror, and its referrers from the registry, which may know more of them', async () => {
    const mirror = await start([image, sbom], { referrers: false });
    const server = await start([image, sbom]);

    const told = await copyFrom(server.host, mirrorLine(mirror));

    expect(reads(server)).toBe(0);
    expect(reads(mirror)).toBeGreaterThan(3);
    expect(server.server.count(/\/referrers\//)).toBeGreaterThan(0);
    expect(told.join()).toContain(`using its mirror \`${mirror.host}\``);
    expect(mirror.server.requests.every(({ path }) => path.includes(`ns=${encodeURIComponent(server.host)}`))).toBe(
      true,
    );
  });

  it('comes from the next where a mirror has not got it, and at last from the registry', async () => {
    const [empty, full, server] = [await start([]), await start([image]), await start([image])];
    await copyFrom(server.host, mirrorLine(empty) + mirrorLine(full));

    expect(reads(full)).toBeGreaterThan(2);
    expect(reads(server)).toBe(0);
    expect(empty.server.requests.length).toBeGreaterThan(0);
  });

  it('comes from the registry where no mirror has it', async () => {
    const [empty, server] = [await start([]), await start([image])];
    await copyFrom(server.host, mirrorLine(empty));

    expect(reads(server)).toBeGreaterThan(2);
  });

  it.each<[string, RegistryOptions]>([
    ['wants credentials', { auth: { kind: 'basic', user: 'a', password: 'b' } }],
    ['is broken', { faults: () => ({ kind: 'status', status: 503 }) }],
    ['asks to wait', { faults: () => ({ kind: 'status', status: 429 }) }],
  ])('comes from the registry where a mirror %s, which is told', async (_, options) => {
    const [mirror, server] = [await start([image], options), await start([image])];
    const told = await copyFrom(server.host, mirrorLine(mirror));

    expect(reads(server)).toBeGreaterThan(2);
    expect(told.join()).toContain(`the mirror \`${mirror.host}\` of \`${server.host}\` is passed over`);
  });

  it('comes from the registry where a mirror cannot be reached, which is tried once', async () => {
    let connections = 0;
    const noTls = createServer((socket) => {
      connections += 1;
      socket.on('error', () => {});
      socket.once('data', () => socket.end('this is no TLS'));
    });
    await new Promise<void>((resolve) => noTls.listen(0, '127.0.0.1', resolve));
    const host = `127.0.0.1:${(noTls.address() as AddressInfo).port}`;
    const server = await start([image]);

    const told = await copyFrom(server.host, `[host."https://${host}"]\n`);
    noTls.close();

    expect(reads(server)).toBeGreaterThan(2);
    expect(connections).toBe(1);
    expect(told.filter((each) => each.includes(host))).toHaveLength(1);
  });

  it('comes from the mirror where the registry cannot be reached, with what the mirror knows of it', async () => {
    const mirror = await start([image, sbom]);
    const told = await copyFrom(unreachable, mirrorLine(mirror));

    expect(mirror.server.count(/\/referrers\//)).toBeGreaterThan(0);
    expect(told.filter((each) => each.startsWith('{"type":"warning"'))).toHaveLength(1);
  });

  it('that no mirror has, of a registry that cannot be reached, is not there', async () => {
    const mirror = await start([]);

    expect(await codeOf(copyFrom(unreachable, mirrorLine(mirror)))).toBe('E_NOT_FOUND');
  });

  it('goes on at the registry where a mirror breaks off in the middle of a blob', async () => {
    const big = buildImage({ seed: 'big', layerBytes: 1_500_000 });
    const [mirror, server] = [await start([]), await start([])];
    for (const registry of [mirror, server]) registry.put(repository, big, 'v1');
    mirror.server.faults = ({ method, path }) =>
      method === 'GET' && path.includes('/blobs/') ? { kind: 'truncate', after: 100_000 } : undefined;
    await put(`hosts/${server.host}/hosts.toml`, mirrorLine(mirror));
    test = await testContext({ cwd: place.path, hostsDir: 'hosts', insecureHosts: [server.host], retries: 3 });

    const source = `${server.host}/${repository}:v1`;
    expect(await copy({ source, target: 'oci:layout', referrers: false }, test.context)).toMatchObject({ ok: true });
    const [rest] = server.server.requests.filter(({ headers }) => headers.range !== undefined);
    expect(rest?.headers.range).toMatch(/^bytes=100000-/);
  });

  describe('that a mirror changed', () => {
    const flips =
      (place: RegExp): FaultPlan =>
      ({ method, path }) =>
        method === 'GET' && place.test(path) ? { kind: 'flip', at: 10 } : undefined;
    const big = buildArtifact({
      seed: 'big',
      layers: [{ mediaType: 'application/x', bytes: seededBytes('big', 6_000_000) }],
    });

    it.each<[string, BuiltImage, RegExp]>([
      ['a manifest', image, /manifests\/sha256/],
      ['small blobs', image, /blobs/],
      ['a large blob', big, /blobs/],
    ])('comes from the registry, which is told: %s', async (_, changed, place) => {
      const [one, other] = [await start([], { faults: flips(place) }), await start([], { faults: flips(place) })];
      const server = await start([]);
      for (const registry of [one, other, server]) registry.put(repository, changed, 'v1');

      const told = await copyFrom(server.host, mirrorLine(one) + mirrorLine(other));

      expect(reads(server)).toBeGreaterThan(0);
      for (const mirror of [one, other])
        expect(told.join()).toContain(`the mirror \`${mirror.host}\` of \`${server.host}\` is passed over`);
    });

    it('is refused where nobody has it right', async () => {
      const [mirror, server] = [
        await start([image], { faults: flips(/blobs/) }),
        await start([image], { faults: flips(/blobs/) }),
      ];

      expect(await codeOf(copyFrom(server.host, mirrorLine(mirror)))).toBe('E_DIGEST_MISMATCH');
    });

    it('is not asked for again: a large blob comes at most once from each', async () => {
      const [mirror, server] = [
        await start([big], { faults: flips(/blobs/) }),
        await start([big], { faults: flips(/blobs/) }),
      ];
      for (const registry of [mirror, server]) registry.put(repository, big, 'v1');

      expect(await codeOf(copyFrom(server.host, mirrorLine(mirror)))).toBe('E_DIGEST_MISMATCH');

      const [largest = ''] = [...big.blobs].toSorted(([, a], [, b]) => b.length - a.length)[0] ?? [];
      for (const registry of [mirror, server]) expect(registry.server.count(new RegExp(`blobs/${largest}`))).toBe(1);
    });
  });
});

describe('a mirror', () => {
  it('that only pulls is not asked what a tag means', async () => {
    const [mirror, server] = [await start([image]), await start([image])];
    await copyFrom(server.host, mirrorLine(mirror, 'capabilities = ["pull"]'));

    expect(server.server.count(/manifests\/v1$/)).toBeGreaterThan(0);
    expect(mirror.server.count(/manifests\/v1/)).toBe(0);
    expect(reads(mirror)).toBeGreaterThan(2);
  });

  it('gets its own credentials and headers, and none of the registry', async () => {
    const mirror = await start([image], {
      auth: { kind: 'bearer', user: 'mirror-user', password: 'mirror-password' },
    });
    const server = await start([image], { auth: { kind: 'basic', user: 'server-user', password: 'server-password' } });
    const login = (user: string): { auth: string } => ({
      auth: Buffer.from(`${user}-user:${user}-password`).toString('base64'),
    });
    const auths = { [mirror.host]: login('mirror'), [server.host]: login('server') };
    await put('.docker/config.json', JSON.stringify({ auths }));

    await copyFrom(server.host, mirrorLine(mirror, 'header = { X-Team = "canary-header" }'));

    const told = ({ server: { requests } }: TestRegistry): string => JSON.stringify(requests);
    expect(reads(mirror)).toBeGreaterThan(2);
    expect(told(mirror)).toContain(login('mirror').auth);
    expect(told(mirror)).not.toContain(login('server').auth);
    expect(told(server)).toContain(login('server').auth);
    expect(told(server)).not.toMatch(new RegExp(`${login('mirror').auth}|canary-header`));
    expect(mirror.server.requests.filter(({ headers }) => headers['x-team'] !== 'canary-header')).toEqual([]);
  });

  it('does not have its headers sent to where it redirects', async () => {
    const [mirror, server] = [await start([image], { redirectBlobs: true }), await start([])];
    await copyFrom(server.host, mirrorLine(mirror, 'header = { X-Team = "canary-header" }'));

    expect(mirror.cdn.requests.length).toBeGreaterThan(0);
    expect(JSON.stringify(mirror.cdn.requests)).not.toContain('canary-header');
  });

  it('below a path is asked for repositories there, and for tokens by their whole names', async () => {
    const mirror = await startRegistry({ auth: { kind: 'bearer', user: 'me', password: 'secret' } });
    registries.push(mirror);
    mirror.put(`proxy/${repository}`, image, 'v1');
    const auth = Buffer.from('me:secret').toString('base64');
    await put('.docker/config.json', JSON.stringify({ auths: { [mirror.host]: { auth } } }));
    const server = await start([]);
    await copyFrom(server.host, `[host."${mirror.url}/v2/proxy"]\noverride_path = true\n`);

    expect(reads(mirror)).toBeGreaterThan(2);
    expect(mirror.server.count(/scope=repository%3Aproxy%2Fteam%2Fapp%3Apull/)).toBeGreaterThan(0);
  });

  it.each([
    ['its authority', 'ca = "ca.pem"', {}, true],
    ['its authority and a client certificate', 'ca = "ca.pem"\nclient = [["c.pem", "c.key"]]', { client: true }, true],
    ['no check', 'skip_verify = true', {}, true],
    ['nothing', '', {}, false],
  ])('with HTTPS is trusted by %s', async (_, settings, { client }: { client?: boolean }, trusted) => {
    const mirror = await start([image], { tls: serverTls('server', client ? { clientAuthority: 'ca.pem' } : {}) });
    const server = await start([image]);
    await put(`hosts/${server.host}/ca.pem`, pem('ca.pem'));
    await put(`hosts/${server.host}/c.pem`, pem('client.pem'));
    await put(`hosts/${server.host}/c.key`, pem('client.key'));

    const told = await copyFrom(server.host, mirrorLine(mirror, settings));

    expect(reads(mirror) > 0).toBe(trusted);
    expect(told.some((each) => each.includes('skip_verify'))).toBe(settings.includes('skip_verify'));
  });
});

describe('the registry itself', () => {
  it('may be written to by what its directory says, and its mirrors are not', async () => {
    const [mirror, server] = [await start([]), await start([], { tls: serverTls() })];
    const source = await start([image]);
    await put(`hosts/${server.host}/hosts.toml`, `ca = "ca.pem"\n${mirrorLine(mirror)}`);
    await put(`hosts/${server.host}/ca.pem`, pem('ca.pem'));
    test = await testContext({ cwd: place.path, hostsDir: 'hosts', insecureHosts: [source.host] });

    await copy(
      { source: `${source.host}/${repository}:v1`, target: `${server.host}/${repository}:v1`, referrers: true },
      test.context,
    );

    expect(server.manifest(repository, 'v1')?.digest).toBe(image.digest);
    expect(mirror.server.requests).toEqual([]);
  });
});
