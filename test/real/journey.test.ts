import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { startHub, type TestHub } from '../support/hub.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
} from '../support/images.ts';
import { tinyModel } from '../support/repos.ts';
import { startGateway, type TestGateway } from '../support/sie.ts';
import { runCommand, tryCommand } from './command.ts';
import { downloadWithHub, hydrateWithSie, readWithHub } from './readers.ts';
import { pushImage, putManifest } from './seed.ts';
import { type RealServer, REGISTRY_PASSWORD, startDistribution, startOlareg, startVersitygw } from './servers.ts';
import { installTools, type Tools } from './tools.ts';

/** The journey of the README, over real servers, read back with real clients. The steps build on each other. */

const model = 'sie-test/tiny-e5';
const repository = 'superlinked/sie-server';
const tag = 'v0.3.4-cuda12-default';
const aws = { AWS_ACCESS_KEY_ID: 'ZONEKEY', AWS_SECRET_ACCESS_KEY: 'zone-secret', AWS_REGION: 'us-east-1' };
const docker = { auths: {} as Record<string, { auth: string }> };

let tools: Tools;
let directory: string;
let hub: TestHub;
let source: RealServer;
let zone: RealServer;
let s3: RealServer;
let gateway: TestGateway;
let image: BuiltImage;
let child: BuiltImage;
let commit: string;
let files: Record<string, number>;
let inside: Record<string, string>;
let storeReference: string;

async function sie(args: string[], env: Record<string, string> = {}, program?: string): Promise<string> {
  const result = await runCli(args, { cwd: directory, env, ...(program === undefined ? {} : { program }) });
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return result.stdout;
}

beforeAll(async () => {
  tools = await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-real-'));
  const place = async (name: string): Promise<string> => {
    await mkdir(join(directory, name));
    return join(directory, name);
  };
  hub = await startHub();
  const content = tinyModel(7, { weightsBytes: 3 * 1024 * 1024, nonAscii: true });
  files = Object.fromEntries(Object.entries(content).map(([path, bytes]) => [path, Buffer.from(bytes).length]));
  ({ commit } = hub.addRepo({ id: model, license: 'mit', files: content }));
  source = await startDistribution(await place('source'), { auth: { user: 'puller', password: REGISTRY_PASSWORD } });
  zone = await startOlareg(await place('zone'));
  s3 = await startVersitygw(await place('s3'), {
    accessKeyId: aws.AWS_ACCESS_KEY_ID,
    secretAccessKey: aws.AWS_SECRET_ACCESS_KEY,
    buckets: ['models'],
  });
  gateway = await startGateway({ models: { [model]: { dim: 1024 } } });
  const auth = Buffer.from(`puller:${REGISTRY_PASSWORD}`).toString('base64');
  docker.auths[source.host] = { auth };
  await mkdir(join(directory, '.docker'));
  await writeFile(join(directory, '.docker/config.json'), JSON.stringify(docker));
  child = buildImage({
    seed: 'amd64',
    platform: { os: 'linux', architecture: 'amd64' },
    layers: 2,
    layerBytes: 100_000,
  });
  const other = buildImage({
    seed: 'arm64',
    platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    layers: 2,
    layerBytes: 900_000,
    docker: false,
  });
  image = buildIndex({ children: [child, other] });
  await pushImage(source.host, repository, image, tag, `Basic ${auth}`);
  const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(image) });
  await pushImage(source.host, repository, sbom, undefined, `Basic ${auth}`);
  // Distribution has no referrers API: what refers to an image is found by the fallback tag.
  const listed = { ...descriptorOf(sbom), artifactType: 'application/spdx+json' };
  const fallback = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [listed] }),
  );
  await putManifest(
    `${source.url}/v2/${repository}/manifests/${image.digest.replace(':', '-')}`,
    'application/vnd.oci.image.index.v1+json',
    fallback,
    { authorization: `Basic ${auth}` },
  );
  await pushImage(source.host, repository, cosignSignature(child), cosignTag(child.digest, 'sig'), `Basic ${auth}`);
  inside = { ...aws, AWS_ENDPOINT_URL_S3: s3.url };
  storeReference = `${source.host}/${repository}:${tag}`;
});

afterAll(async () => {
  await Promise.all([source, zone, s3].map((server) => server?.stop()));
  await gateway?.close();
  await hub?.close();
  if (directory) await rm(directory, { recursive: true, force: true });
});

it('the stand-in of the hub serves huggingface_hub itself', async () => {
  for (const python of tools.hubs) {
    const root = await downloadWithHub(python, hub.url, join(directory, `home-${python.version}`), model);
    expect(await readFile(join(root, 'model.safetensors')), python.version).toHaveLength(
      files['model.safetensors'] ?? -1,
    );
  }
});

it('pull: the store is a Hugging Face cache and an OCI layout for everybody', async () => {
  await writeFile(
    join(directory, 'mirror.yaml'),
    `apiVersion: sie-mirror/v1
kind: MirrorManifest
metadata: { name: site-a }
models:
  - { repo: ${model}, filter: all }
images:
  - { ref: "${storeReference}", to: sie/sie-server }
`,
  );
  await sie(['keygen', '--out', 'keys']);
  await sie(['plan', 'mirror.yaml', '--insecure-host', source.host], { HF_ENDPOINT: hub.url });
  await sie(['pull', 'mirror.lock.json', '--store', 'store', '--insecure-host', source.host], { HF_ENDPOINT: hub.url });
  for (const python of tools.hubs) {
    const reading = await readWithHub(python, join(directory, 'store/hub'), model, commit);
    expect(reading, python.version).toMatchObject({ same: true, files, warnings: [], repos: [model], refs: ['main'] });
  }
  const raw = await runCommand(tools.skopeo, [
    'inspect',
    '--raw',
    `oci:${join(directory, 'store/oci')}:${storeReference}`,
  ]);
  expect(sha256(raw)).toBe(image.digest);
  // The SBOM and the signature have entries of their own.
  expect(await sie(['verify', '--store', 'store'])).toContain('GOOD: 4 items');
});

it('bundle: stock tools verify it, tar unpacks it into what readers read', async () => {
  await sie([
    'bundle',
    '--store',
    'store',
    '--out',
    'usb',
    '--volume-size',
    '1MiB',
    '--sign',
    'keys/sie-mirror.key.pem',
  ]);
  const bundle = join(directory, 'usb/site-a');
  const key = join(directory, 'keys/sie-mirror.pub.pem');
  const unpacked = join(directory, 'unpacked');
  await mkdir(unpacked);
  const guide = await readFile(join(bundle, 'VERIFY.md'), 'utf8');
  const blocks = [...guide.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
  expect(blocks.length).toBeGreaterThan(5);
  const env = { PUBLIC_KEY: key, UNPACK_DIR: unpacked, PATH: `${tools.bin}:${process.env['PATH'] ?? ''}` };
  for (const script of blocks) {
    const { code, stdout, stderr } = await tryCommand('bash', ['-euo', 'pipefail', '-c', script], { cwd: bundle, env });
    expect(code, `${script}\n${stdout}${stderr}`).toBe(0);
  }
  for (const python of tools.hubs) {
    const reading = await readWithHub(python, join(unpacked, 'hub'), model, commit);
    expect(reading, python.version).toMatchObject({ same: true, files, warnings: [] });
  }
  const raw = await runCommand(tools.skopeo, ['inspect', '--raw', `oci:${join(unpacked, 'oci')}:${storeReference}`]);
  expect(sha256(raw)).toBe(image.digest);
});

it('verify and import: with the tool from the drive, which stays as it was', async () => {
  const bundle = join(directory, 'usb/site-a');
  const tool = join(bundle, 'sie-mirror.mjs');
  const key = ['--key', 'keys/sie-mirror.pub.pem'];
  await chmod(bundle, 0o555);
  const before = await readdir(bundle);
  const verdict = JSON.parse(await sie(['verify', bundle, ...key, '--json'], {}, tool)) as { ok: boolean };
  expect(verdict.ok).toBe(true);
  const target = [
    '--models',
    's3://models/2026-11/models',
    '--images',
    `${zone.host}/mirror`,
    '--insecure-host',
    zone.host,
  ];
  const first = JSON.parse(await sie(['import', bundle, ...target, ...key, '--json'], inside, tool)) as {
    totals: { bytes: number };
  };
  expect(first.totals.bytes).toBeGreaterThan(3_000_000);
  const second = JSON.parse(await sie(['import', bundle, ...target, ...key, '--json'], inside, tool)) as {
    totals: { bytes: number };
  };
  expect(second.totals.bytes).toBe(0);
  expect(await readdir(bundle)).toEqual(before);
});

it('the zone: images, signatures and referrers as they were, by crane and skopeo', async () => {
  const name = `${zone.host}/mirror/sie/sie-server`;
  await runCommand(tools.crane, ['validate', '--insecure', '--remote', `${name}:${tag}`]);
  expect((await runCommand(tools.crane, ['digest', '--insecure', `${name}:${tag}`])).trim()).toBe(image.digest);
  expect(
    sha256(await runCommand(tools.skopeo, ['inspect', '--raw', '--tls-verify=false', `docker://${name}:${tag}`])),
  ).toBe(image.digest);
  const tags = await runCommand(tools.crane, ['ls', '--insecure', name]);
  expect(tags).toContain(cosignTag(child.digest, 'sig'));
  const referrers = (await (await fetch(`${zone.url}/v2/mirror/sie/sie-server/referrers/${image.digest}`)).json()) as {
    manifests: { artifactType: string }[];
  };
  expect(referrers.manifests.map(({ artifactType }) => artifactType)).toEqual(['application/spdx+json']);
});

it('the zone: models for huggingface_hub and for SIE, each byte once', async () => {
  const synced = join(directory, 'synced');
  await runCommand(
    tools.aws,
    ['s3', 'sync', '--only-show-errors', 's3://models/2026-11/models', synced, '--endpoint-url', s3.url],
    { env: aws },
  );
  const root = join(synced, `models--${model.replace('/', '--')}`);
  expect(await readFile(join(root, 'refs/main'), 'utf8')).toBe(commit);
  expect((await readdir(root)).sort()).toEqual(['refs', 'snapshots', 'trees']);
  await rm(join(synced, '.sie-mirror'), { recursive: true });
  for (const python of tools.hubs) {
    const reading = await readWithHub(python, synced, model, commit);
    expect(reading, python.version).toMatchObject({ same: true, files, warnings: [], refs: ['main'] });
  }
  for (const python of tools.sdks ?? []) {
    const local = join(directory, `local-${python.version}`);
    const hydrated = await hydrateWithSie(python, 's3://models/2026-11/models', local, model, {
      ...aws,
      AWS_ENDPOINT_URL: s3.url,
    });
    expect(hydrated.files, python.version).toEqual(files);
    const content = Object.values(files).reduce((sum, size) => sum + size, 0);
    expect(hydrated.total, python.version).toBeLessThan(content + 10_000);
  }
});

it('smoke: the cluster answers', async () => {
  const output = await sie(['smoke', gateway.url, '--model', model, '--gpu', 'l4', '--dim', '1024', '--timeout', '30']);
  expect(output).toContain('GOOD');
});

it('the zone: every byte as the receipt says, and what rots on the disks of the servers is named', async () => {
  const places = ['s3://models/2026-11/models', '--registry', `${zone.host}/mirror`, '--insecure-host', zone.host];
  const verify = ['verify', ...places, '--receipt', 'site-a.receipt.json'];
  expect(await sie(verify, inside)).toContain('GOOD: 2 items');
  const layer = [...child.blobs].sort(([, a], [, b]) => b.length - a.length)[0]?.[0].slice('sha256:'.length) ?? '';
  for (const [root, end] of [
    ['s3', 'model.safetensors'],
    ['zone', layer],
  ] as const) {
    const [path = ''] = (await readdir(join(directory, root), { recursive: true })).filter((each) =>
      each.endsWith(end),
    );
    const bytes = await readFile(join(directory, root, path));
    bytes[bytes.length - 9] = (bytes[bytes.length - 9] ?? 0) ^ 1;
    await writeFile(join(directory, root, path), bytes);
  }
  const bad = await runCli(verify, { cwd: directory, env: inside });
  expect(bad.code).toBe(4);
  expect(bad.stdout).toMatch(/^CORRUPT {2}.*model\.safetensors.*\n.*CORRUPT {2}.*\n(?:cannot be used: .*\n){2}/m);
  expect(bad.stdout).toContain(layer);
});

function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
