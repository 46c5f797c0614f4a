import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CliOptions, type CliResult, runCli } from '../support/cli.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { waitFor } from '../support/wait.ts';
import { dockerConfig, imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';

const mebi = 1024 * 1024;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let world: World;
let directory: string;

beforeEach(async () => {
  place = await temporaryDirectory();
  directory = place.path;
  world = await startWorld({ weightsBytes: 24 * mebi, layerBytes: 8 * mebi });
  await mkdir(join(directory, '.docker'));
  await writeFile(join(directory, '.docker/config.json'), dockerConfig(world.zone));
});

afterEach(async () => {
  await world.close();
  await place[Symbol.asyncDispose]();
});

async function run(args: string[], options: Partial<CliOptions> = {}): Promise<CliResult> {
  return runCli(args, { cwd: directory, ...options });
}

/** Starts a command, waits until it is in the middle of its work, and kills it as a power cut would. */
async function killed(
  args: string[],
  env: Record<string, string>,
  middle: () => boolean | Promise<boolean>,
): Promise<void> {
  let kill: (signal: NodeJS.Signals) => void = () => {};
  const result = run(args, { env, onStart: (given) => (kill = given) });
  await waitFor(`\`${args[0]}\` is in the middle of its work`, middle);
  kill('SIGKILL');
  expect((await result).code).toBe(137);
}

/** What has left the server has to reach the disk before the cut, or there is nothing to resume. */
async function partialBytes(): Promise<number> {
  const paths = (await filesBelow(directory)).filter((path) => path.endsWith('.partial'));
  const sizes = paths.map((path) =>
    stat(join(directory, path)).then(
      ({ size }) => size,
      () => 0,
    ),
  );
  return Math.max(0, ...(await Promise.all(sizes)));
}

const sent = (records: readonly { sent: number }[]): number => records.reduce((sum, record) => sum + record.sent, 0);

it('snapshot goes on where it was killed, and no ref is written before the snapshot is whole', async () => {
  const args = ['snapshot', modelId, '--store', 'store'];
  world.hub.cdn.faults = () => ({ kind: 'stall', after: 12 * mebi });
  await killed(args, world.online, async () => {
    return (await partialBytes()) >= 10 * mebi && world.hub.server.count(/GET .*resolve/) > 5;
  });
  expect((await filesBelow(directory)).filter((path) => path.includes('/refs/'))).toEqual([]);
  world.hub.cdn.faults = undefined;
  const before = sent(world.hub.cdn.requests);
  expect(await run(args, { env: world.online })).toMatchObject({ code: 0 });
  expect(sent(world.hub.cdn.requests) - before).toBeLessThan(0.6 * 24 * mebi);
  expect((await filesBelow(directory)).filter((path) => path.endsWith('.partial'))).toEqual([]);
});

it('snapshot takes away what a killed run left of a branch that has moved on, and keeps what another run will go on with', async () => {
  const files = { 'config.json': '{}' };
  const add = (seed: string, branch: string): void => {
    const weights = { 'model.safetensors': seededBytes(seed, 24 * mebi) };
    world.hub.addRepo({ id: 'org/moving', files: { ...files, ...weights }, branches: [branch] });
  };
  const args = (revision: string): string[] => ['snapshot', `org/moving@${revision}`, '--store', 'store'];
  const partials = async (): Promise<string[]> =>
    (await filesBelow(directory)).filter((path) => path.endsWith('.partial'));
  for (const [count, revision] of ['main', 'v1'].entries()) {
    add(revision, revision);
    world.hub.cdn.faults = () => ({ kind: 'stall', after: 12 * mebi });
    await killed(args(revision), world.online, async () => {
      // Some of them are gone again at once.
      const sizes = (await partials()).map(
        async (path) => (await stat(join(directory, path)).catch(() => undefined))?.size,
      );
      return (await Promise.all(sizes)).filter((bytes = 0) => bytes >= 10 * mebi).length === count + 1;
    });
  }
  world.hub.cdn.faults = undefined;
  world.hub.addRepo({ id: 'org/moving', files });

  const moved = await run(args('main'), { env: world.online });

  expect(moved).toMatchObject({ code: 0, stderr: expect.stringMatching(/1 file that a broken run had left .* freed/) });
  expect(await partials()).toHaveLength(1);
  const before = sent(world.hub.cdn.requests);
  expect(await run(args('v1'), { env: world.online })).toMatchObject({ code: 0 });
  expect(sent(world.hub.cdn.requests) - before).toBeLessThan(0.6 * 24 * mebi);
  expect(await partials()).toEqual([]);
});

it('a big file of a snapshot goes on with the ranges that were missing when it was killed', async () => {
  const size = 272 * mebi;
  world.hub.addRepo({ id: 'org/big', files: { 'model.safetensors': seededBytes('big', size) } });
  const args = ['snapshot', 'org/big', '--store', 'store'];
  let ranges = 0;
  world.hub.cdn.faults = () => (++ranges > 9 ? { kind: 'stall', after: mebi } : undefined);
  await killed(args, world.online, async () => {
    const journal = (await filesBelow(directory)).find((path) => path.endsWith('.journal.partial'));
    const text = journal === undefined ? '' : await readFile(join(directory, journal), 'utf8');
    return text.split('\n').length > 1 + 9;
  });
  expect((await filesBelow(directory)).filter((path) => path.includes('/refs/'))).toEqual([]);
  world.hub.cdn.faults = undefined;
  const before = sent(world.hub.cdn.requests);
  expect(await run(args, { env: world.online })).toMatchObject({ code: 0 });
  expect(sent(world.hub.cdn.requests) - before).toBeLessThanOrEqual(0.55 * size);
  expect((await filesBelow(directory)).filter((path) => path.endsWith('.partial'))).toEqual([]);
  expect(await run(['snapshot', '--offline', '--store', 'store'])).toMatchObject({ code: 0 });
});

it('copy into a layout goes on where it was killed', async () => {
  const args = [
    'copy',
    `${world.source.host}/${imageRepository}:${imageTag}`,
    'oci:layout',
    '--insecure-host',
    world.source.host,
  ];
  const total = [...world.image.blobs.values()].reduce((sum, bytes) => sum + bytes.length, 0);
  world.source.cdn.faults = () => ({ kind: 'stall', after: 5 * mebi });
  await killed(args, {}, async () => {
    const paths = (await filesBelow(directory)).filter((path) => path.includes('blobs/') && path.endsWith('.partial'));
    const sizes = await Promise.all(
      paths.map(async (path) => (await stat(join(directory, path)).catch(() => undefined))?.size),
    );
    return sizes.filter((size = 0) => size >= 4 * mebi).length === 4;
  });
  world.source.cdn.faults = undefined;
  const before = sent(world.source.cdn.requests);
  expect(await run(args)).toMatchObject({ code: 0 });
  expect(sent(world.source.cdn.requests) - before).toBeLessThan(0.55 * total);
});

describe('bundle that was killed', () => {
  const volumes = ['--volume-size', '256KiB'];
  const make = (out: string): string[] => ['bundle', '--store', 'store', '--out', out, '--name', 'b', ...volumes];
  const names = async (): Promise<string[]> => readdir(join(directory, 'usb/b')).catch(() => []);
  const read = (path: string): Promise<string> => readFile(join(directory, path), 'utf8');
  const written = async (name: string): Promise<number> => (await stat(join(directory, 'usb/b', name))).mtimeMs;

  beforeEach(async () => {
    expect(await run(['snapshot', modelId, '--store', 'store'], { env: world.online })).toMatchObject({ code: 0 });
    await killed(make('usb'), {}, async () => (await names()).some((name) => name === 'b.0005.tar'));
  });

  it('is no bundle, and the second run goes on with the first volume that is missing', async () => {
    expect(await names()).not.toContain('SHA256SUMS');
    expect(await run(['verify', 'usb/b'])).toMatchObject({ code: 4 });
    const before = await written('b.0003.tar');
    expect(await run(make('usb'))).toMatchObject({ code: 0 });
    expect(await run(['verify', 'usb/b'])).toMatchObject({ code: 0 });
    expect(await written('b.0003.tar')).toBe(before);
    expect(await run(make('whole'))).toMatchObject({ code: 0 });
    expect(await read('usb/b/SHA256SUMS')).toBe(await read('whole/b/SHA256SUMS'));
    expect((await readdir(join(directory, 'store'))).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('begins anew when a volume is gone', async () => {
    const before = await written('b.0003.tar');
    await rm(join(directory, 'usb/b/b.0002.tar'));
    expect(await run(make('usb'))).toMatchObject({ code: 0 });
    expect(await run(['verify', 'usb/b'])).toMatchObject({ code: 0 });
    expect(await written('b.0003.tar')).not.toBe(before);
  });

  it('begins anew when the store has changed', async () => {
    await writeFile(join(directory, 'store/hub/models--sie-test--tiny-e5/refs/other'), world.commit);
    expect(await run(make('usb'))).toMatchObject({ code: 0 });
    expect(await run(['verify', 'usb/b'])).toMatchObject({ code: 0 });
    expect(await read('usb/b/inventory.json')).toContain('refs/other');
  });

  it('trusts nothing that was changed on the medium', async () => {
    const volume = join(directory, 'usb/b/b.0002.tar');
    const bytes = await readFile(volume);
    bytes[2000] = (bytes[2000] ?? 0) ^ 1;
    await writeFile(volume, bytes);
    expect(await run(make('usb'))).toMatchObject({ code: 0 });
    expect(await run(['verify', 'usb/b'])).toMatchObject({ code: 4 });
  });
});

it('import that was killed leaves nothing that claims to be whole, and the second run finishes it', async () => {
  expect(await run(['snapshot', modelId, '--store', 'store'], { env: world.online })).toMatchObject({ code: 0 });
  expect(
    await run([
      'copy',
      `${world.source.host}/${imageRepository}:${imageTag}`,
      'oci:store/oci',
      '--insecure-host',
      world.source.host,
    ]),
  ).toMatchObject({ code: 0 });
  expect(await run(['bundle', '--store', 'store', '--out', 'usb', '--name', 'b'])).toMatchObject({ code: 0 });
  const args = [
    'import',
    'usb/b',
    '--models',
    's3://models/m',
    '--images',
    world.zone.host,
    '--insecure-host',
    world.zone.host,
  ];
  world.s3.server.latencyMs = 50;
  await killed(args, world.inside, () => world.s3.server.count(/^PUT .*partNumber/) >= 1);
  expect(
    [...world.s3.objects.keys()].filter((key) => key.includes('/refs/') || key.endsWith('model.safetensors')),
  ).toEqual([]);
  world.s3.server.latencyMs = 0;
  world.zone.server.latencyMs = 50;
  await killed(args, world.inside, () => world.zone.server.count(/^PUT .*uploads/) >= 1);
  expect(world.zone.repositories().flatMap((name) => world.zone.tags(name))).toEqual([]);
  world.zone.server.latencyMs = 0;
  expect(await run(args, { env: world.inside })).toMatchObject({ code: 0 });
  const again = await run([...args, '--json'], { env: world.inside });
  expect((JSON.parse(again.stdout) as { totals: { bytes: number } }).totals.bytes).toBe(0);
});

it('import goes on with the parts of a large file that the store had when it was killed', async () => {
  const size = 48 * mebi;
  world.hub.addRepo({ id: 'org/big', files: { 'model.safetensors': seededBytes('big', size) } });
  expect(await run(['snapshot', 'org/big', '--store', 'store'], { env: world.online })).toMatchObject({ code: 0 });
  expect(await run(['bundle', '--store', 'store', '--out', 'usb', '--name', 'b'])).toMatchObject({ code: 0 });
  const args = ['import', 'usb/b', '--models', 's3://models/m'];
  const parts = (): number[] =>
    world.s3.server.requests
      .filter(({ path, status }) => path.includes('partNumber=') && status === 200)
      .map(({ headers }) => Number(headers['content-length']));
  let arrived = 0;
  world.s3.server.gate = ({ path }) =>
    path.includes('partNumber=') && ++arrived > 3 ? new Promise(() => {}) : undefined;
  await killed(args, world.inside, () => parts().length === 3);
  world.s3.server.gate = undefined;

  expect(await run(args, { env: world.inside })).toMatchObject({ code: 0 });

  const moved = parts().slice(3);
  expect(moved.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(0.55 * size);
  expect(world.s3.dangling()).toEqual([]);
  expect([...world.s3.objects.keys()].filter((key) => key.includes('/uploads/'))).toEqual([]);
});

it('pull and plan can be killed and run again', async () => {
  await writeFile(
    join(directory, 'm.yaml'),
    `apiVersion: sie-mirror/v1\nkind: MirrorManifest\nmetadata: { name: x }\nmodels: [{ repo: ${modelId} }]\nimages: [{ ref: "${world.source.host}/${imageRepository}:${imageTag}" }]\n`,
  );
  const insecure = ['--insecure-host', world.source.host];
  world.source.server.latencyMs = 200;
  await killed(['plan', 'm.yaml', ...insecure], world.online, () => world.source.server.requests.length > 0);
  expect(await filesBelow(directory)).not.toContain('mirror.lock.json');
  world.source.server.latencyMs = 0;
  expect(await run(['plan', 'm.yaml', ...insecure], { env: world.online })).toMatchObject({ code: 0 });
  world.source.cdn.faults = () => ({ kind: 'stall', after: mebi });
  await killed(
    ['pull', 'mirror.lock.json', '--store', 'store', ...insecure],
    world.online,
    () => world.source.cdn.requests.length > 1,
  );
  world.source.cdn.faults = undefined;
  expect(await run(['pull', 'mirror.lock.json', '--store', 'store', ...insecure], { env: world.online })).toMatchObject(
    { code: 0 },
  );
  const again = await run(['pull', 'mirror.lock.json', '--store', 'store', '--json', ...insecure], {
    env: world.online,
  });
  expect((JSON.parse(again.stdout) as { totals: { bytes: number } }).totals.bytes).toBe(0);
});

it('stops within seconds on the first Ctrl-C, says how to go on, and goes on', async () => {
  world.hub.cdn.faults = () => ({ kind: 'stall', after: mebi });
  let kill: (signal: NodeJS.Signals) => void = () => {};
  const args = ['snapshot', modelId, '--store', 'store'];
  const result = run(args, { env: world.online, onStart: (given) => (kill = given) });
  await waitFor('the big file is on its way', () => sent(world.hub.cdn.requests) >= mebi);
  kill('SIGINT');
  const { code, stderr } = await result;
  expect(code).toBe(130);
  expect(stderr).toContain('run the same command again');
  world.hub.cdn.faults = undefined;
  expect(await run(args, { env: world.online })).toMatchObject({ code: 0 });
});

it('takes back at the registry what it had begun when it is stopped by Ctrl-C', async () => {
  const { source, zone } = world;
  source.cdn.faults = () => ({ kind: 'stall', after: mebi });
  let kill: (signal: NodeJS.Signals) => void = () => {};
  const image = `${imageRepository}:${imageTag}`;
  const args = ['copy', `${source.host}/${image}`, `${zone.host}/${image}`];
  for (const { host } of [source, zone]) args.push('--insecure-host', host);
  const result = run(args, {
    env: { ...world.online, DOCKER_CONFIG: join(directory, '.docker') },
    onStart: (given) => (kill = given),
  });
  // An upload whose opening has not been answered yet is not known to who would take it back.
  await waitFor('every upload that was opened waits for the rest of its blob', async () => {
    const before = zone.server.requests.length;
    await new Promise((resolve) => setTimeout(resolve, 500));
    return zone.openUploads > 0 && zone.server.requests.length === before;
  });
  kill('SIGINT');
  expect((await result).code).toBe(130);
  expect(zone.openUploads).toBe(0);
});
