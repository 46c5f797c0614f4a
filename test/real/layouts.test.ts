import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { partsOf } from '../support/archives.ts';
import { runCli } from '../support/cli.ts';
import { digestOf } from '../support/digest.ts';
import { buildImage, buildIndex } from '../support/images.ts';
import { runCommand } from './command.ts';
import { pushImage } from './seed.ts';
import { type RealServer, startDistribution } from './servers.ts';
import { installTools, type Tools } from './tools.ts';

/** Archives and layouts that others write are read, and ours are read by others. */

const docker = buildImage({ seed: 'docker', docker: true, layers: 3, layerBytes: 50_000 });
const oci = buildImage({ seed: 'oci' });
const arm = buildImage({ seed: 'arm', platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } });
const index = buildIndex({ children: [oci, arm] });
const images = { 'team/docker': docker, 'team/oci': oci, 'team/multi': index };

let tools: Tools;
let directory: string;
let source: RealServer;
let zone: RealServer;

beforeAll(async () => {
  tools = await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-layouts-'));
  const place = async (name: string): Promise<string> => {
    await mkdir(join(directory, name));
    return join(directory, name);
  };
  source = await startDistribution(await place('source'));
  zone = await startDistribution(await place('zone'));
  for (const [name, image] of Object.entries(images)) await pushImage(source.host, name, image, 'v1');
});

afterAll(async () => {
  await source?.stop();
  await zone?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function copy(from: string, to: string): Promise<void> {
  const insecure = [source, zone].flatMap(({ host }) => ['--insecure-host', host]);
  const result = await runCli(['copy', from, to, ...insecure], { cwd: directory });
  expect(result, result.stderr).toMatchObject({ code: 0 });
}

const skopeo = async (...args: string[]): Promise<string> =>
  runCommand(tools.skopeo, ['--insecure-policy', ...args], { cwd: directory });
const skopeoCopy = async (from: string, to: string, ...flags: string[]): Promise<string> =>
  skopeo('copy', '-q', '--src-tls-verify=false', '--dest-tls-verify=false', ...flags, from, to);
const crane = async (...args: string[]): Promise<string> =>
  runCommand(tools.crane, ['--insecure', ...args], { cwd: directory });
const digestAt = async (name: string): Promise<string> => (await crane('digest', `${zone.host}/${name}`)).trim();
const configAt = async (name: string): Promise<string> =>
  sha256(Buffer.from(await crane('config', `${zone.host}/${name}`)));

async function validate(name: string): Promise<void> {
  await crane('validate', '--remote', `${zone.host}/${name}`);
}

describe('archives of other tools', () => {
  it('by skopeo, docker-archive: the config is unchanged, layers are right', async () => {
    await skopeoCopy(`docker://${source.host}/team/docker:v1`, 'docker-archive:skopeo.tar:team/docker:v1');
    await copy('docker-archive:skopeo.tar', `${zone.host}/skopeo:v1`);
    // crane validates gzip layers only; skopeo reads any, and checks them against the config.
    await crane('validate', '--fast', '--remote', `${zone.host}/skopeo:v1`);
    await skopeoCopy(`docker://${zone.host}/skopeo:v1`, 'oci:back:v1');
    expect(await configAt('skopeo:v1')).toBe(digestOf(partsOf(docker).config));
    await copy('docker-archive:skopeo.tar:team/docker:v1', `${zone.host}/skopeo:named`);
    expect(await digestAt('skopeo:named')).toBe(await digestAt('skopeo:v1'));
  });

  it('by skopeo, oci-archive: digests are unchanged', async () => {
    await skopeoCopy(`docker://${source.host}/team/multi:v1`, 'oci-archive:multi.tar:v1', '--all');
    await copy('oci-archive:multi.tar:v1', `${zone.host}/oci-archive:v1`);
    expect(await digestAt('oci-archive:v1')).toBe(index.digest);
    await validate('oci-archive:v1');
  });

  it('by crane, one image and several, with their compressed layers', async () => {
    await crane('pull', `${source.host}/team/oci:v1`, 'one.tar');
    await copy('docker-archive:one.tar', `${zone.host}/crane:one`);
    await validate('crane:one');
    await crane('pull', `${source.host}/team/oci:v1`, `${source.host}/team/docker:v1`, 'two.tar');
    await copy(`docker-archive:two.tar:${source.host}/team/docker:v1`, `${zone.host}/crane:two`);
    expect(await configAt('crane:two')).toBe(digestOf(partsOf(docker).config));
    // Of an image that was docker's, crane keeps everything that its manifest is made of.
    expect(JSON.parse(await crane('manifest', `${zone.host}/crane:two`))).toEqual(
      JSON.parse(Buffer.from(docker.bytes).toString()),
    );
  });
});

describe('layouts of other tools', () => {
  it('by crane, without names', async () => {
    await crane('pull', '--format', 'oci', `${source.host}/team/multi:v1`, 'crane-layout');
    await copy('oci:crane-layout', `${zone.host}/crane-layout:v1`);
    expect(await digestAt('crane-layout:v1')).toBe(index.digest);
    await copy(`oci:crane-layout@${arm.digest}`, `${zone.host}/crane-layout:arm`);
    expect(await digestAt('crane-layout:arm')).toBe(arm.digest);
  });

  it('by crane, with the names that it annotates', async () => {
    await crane(
      'pull',
      '--format',
      'oci',
      '--annotate-ref',
      `${source.host}/team/oci:v1`,
      `${source.host}/team/docker:v1`,
      'annotated',
    );
    await copy(`oci:annotated:${source.host}/team/docker:v1`, `${zone.host}/annotated:v1`);
    expect(await digestAt('annotated:v1')).toBe(docker.digest);
  });

  it('by skopeo, several in one', async () => {
    await skopeoCopy(`docker://${source.host}/team/oci:v1`, 'oci:skopeo-layout:one');
    await skopeoCopy(`docker://${source.host}/team/multi:v1`, 'oci:skopeo-layout:all', '--all');
    await copy('oci:skopeo-layout:all', `${zone.host}/skopeo-layout:v1`);
    expect(await digestAt('skopeo-layout:v1')).toBe(index.digest);
  });
});

describe('our layouts', () => {
  beforeAll(async () => {
    for (const name of Object.keys(images)) await copy(`${source.host}/${name}:v1`, 'oci:ours');
  });

  it('are read by skopeo, each image with OCI media types by its full name', async () => {
    for (const name of ['team/oci', 'team/multi'] as const) {
      const raw = await skopeo('inspect', '--raw', `oci:ours:${source.host}/${name}:v1`);
      expect(sha256(raw)).toBe(images[name].digest);
    }
    await skopeoCopy(`oci:ours:${source.host}/team/multi:v1`, `docker://${zone.host}/by-skopeo:v1`, '--all');
    expect(await digestAt('by-skopeo:v1')).toBe(index.digest);
  });

  it.each(['team/oci', 'team/docker', 'team/multi'] as const)(
    'are read by crane: a layout of one image is pushed as that image: %s',
    async (name) => {
      await copy(`oci:ours:${source.host}/${name}:v1`, `oci:single/${name}:v1`);
      await crane('push', `single/${name}`, `${zone.host}/by-crane/${name}:v1`);
      expect(await digestAt(`by-crane/${name}:v1`)).toBe(images[name].digest);
    },
  );

  it('are read by both while what a killed run left lies in them', async () => {
    await copy(`oci:ours:${source.host}/team/oci:v1`, 'oci:littered:v1');
    for (const path of [
      'index.json.0123abcd.partial',
      'index.json.lock.partial',
      `blobs/sha256/${'0'.repeat(64)}.partial`,
    ])
      await runCommand('touch', [join(directory, 'littered', path)]);
    await crane('push', 'littered', `${zone.host}/littered:crane`);
    await skopeoCopy('oci:littered:v1', `docker://${zone.host}/littered:skopeo`);
    expect(await digestAt('littered:crane')).toBe(oci.digest);
    expect(await digestAt('littered:skopeo')).toBe(oci.digest);
  });
});
