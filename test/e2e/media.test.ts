import { cp, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { dockerConfig, imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';

let world: World;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let volumes: string[];
let run = 0;

const cli = (args: string[], env: Record<string, string> = {}): Promise<CliResult> =>
  runCli(args, { cwd: place.path, env });
const good = async (args: string[], env: Record<string, string> = {}): Promise<string> => {
  const result = await cli(args, env);
  expect(result.code, result.stderr).toBe(0);
  return result.stdout;
};

/** A new place in the zone for each test. */
const targets = (): string[] => [
  '--models',
  `s3://models/run-${run}`,
  '--images',
  `${world.zone.host}/run-${run}`,
  '--insecure-host',
  world.zone.host,
];
const importFrom = (...args: string[]): Promise<CliResult> => cli(['import', ...args, ...targets()], world.inside);
const objects = (): string[] => [...world.s3.objects.keys()].filter((key) => key.startsWith(`models/run-${run}/m`));

beforeAll(async () => {
  place = await temporaryDirectory();
  world = await startWorld({ weightsBytes: 100 * 1024, layerBytes: 50 * 1024 });
  await mkdir(join(place.path, '.docker'));
  await writeFile(join(place.path, '.docker/config.json'), dockerConfig(world.zone));
  await good(['snapshot', modelId], world.online);
  const { host } = world.source;
  const source = `${host}/${imageRepository}:${imageTag}`;
  await good(['copy', source, 'oci:sie-mirror-store/oci', '--insecure-host', host]);
  await good(['bundle', '--out', 'whole', '--name', 'b', '--volume-size', '104KiB']);
  volumes = (await readdir(join(place.path, 'whole/b'))).filter((name) => name.endsWith('.tar')).sort();
  expect(volumes.length).toBeGreaterThan(2);
  for (const medium of ['one', 'two'])
    await cp(join(place.path, 'whole/b'), join(place.path, medium), { recursive: true });
  // Every other volume: no item is whole on one medium.
  for (const [index, name] of volumes.entries()) await rm(join(place.path, index % 2 === 0 ? 'two' : 'one', name));
}, 60_000);

beforeEach(() => {
  run += 1;
});

afterAll(async () => {
  await world.close();
  await place[Symbol.asyncDispose]();
});

describe('a bundle that lies on two media', () => {
  it('is verified with both at hand, each copy of what is on both too', async () => {
    expect((await cli(['verify', 'one'])).code).toBe(4);
    expect(await good(['verify', 'one', '--from', 'two'])).toContain('GOOD');

    await cp(join(place.path, 'two'), join(place.path, 'bad'), { recursive: true });
    await writeFile(join(place.path, 'bad/VERIFY.md'), 'something else');
    const result = await cli(['verify', 'one', '--from', 'bad']);
    expect([result.code, result.stdout]).toEqual([4, expect.stringContaining('VERIFY.md')]);
  });

  it('is imported with both at hand', async () => {
    expect(await importFrom('one', '--from', 'two')).toMatchObject({ code: 0 });
    expect(objects().some((key) => key.endsWith('/refs/main'))).toBe(true);
  });

  it('is imported one medium after the other, and nothing moves twice', async () => {
    const first = await importFrom('one');
    expect([first.code, first.stdout]).toEqual([3, expect.stringContaining(`next: insert volume \`${volumes[1]}\``)]);
    expect(objects().some((key) => key.includes('/snapshots/'))).toBe(true);
    expect(objects().some((key) => key.includes('/refs/'))).toBe(false);

    const before = new Set(objects());
    const mark = world.s3.server.requests.length;
    expect(await importFrom('two')).toMatchObject({ code: 0 });
    const put = world.s3.server.requests.slice(mark).filter(({ method }) => method === 'PUT');
    expect(put.filter(({ path }) => before.has(decodeURIComponent(path.slice(1).split('?')[0] ?? '')))).toEqual([]);
    expect(await good(['import', 'two', ...targets()], world.inside)).toContain('was there already');
  });

  it('is approved with both at hand, and the approval is on both then', async () => {
    for (const who of ['maker', 'officer']) await good(['keygen', '--out', who]);
    const sign = ['--sign', 'maker/sie-mirror.key.pem'];
    await good(['bundle', '--out', 'signed', '--name', 'b', '--volume-size', '104KiB', ...sign]);
    await cp(join(place.path, 'signed'), join(place.path, 'other-half'), { recursive: true });
    for (const [index, name] of volumes.entries())
      await rm(join(place.path, index % 2 === 0 ? 'signed' : 'other-half', 'b', name));
    const keys = ['--key', 'maker/sie-mirror.pub.pem', '--key', 'officer/sie-mirror.pub.pem', '--require', '2'];
    const approve = [
      'approve',
      'signed/b',
      '--key',
      'officer/sie-mirror.key.pem',
      '--maker',
      'maker/sie-mirror.pub.pem',
    ];

    expect(await cli(approve)).toMatchObject({ code: 4 });
    expect(await cli(['verify', 'signed/b', '--from', 'other-half/b', ...keys])).toMatchObject({ code: 4 });
    await good([...approve, '--from', 'other-half/b']);

    await good(['verify', 'signed/b', '--from', 'other-half/b', ...keys]);
    for (const half of ['signed/b', 'other-half/b']) await good(['verify', half, '--partial', ...keys]);
  });

  it('that are parts of two bundles is refused', async () => {
    await good(['bundle', '--out', 'other', '--name', 'b', '--volume-size', '1MiB']);
    expect(await importFrom('one', '--from', 'other/b')).toMatchObject({ code: 4 });
    await rename(join(place.path, 'other'), join(place.path, 'gone'));
    expect(await importFrom('one', '--from', 'other/b')).toMatchObject({ code: 7 });
  });

  it('is made by filling one after the other, each with all but the volumes', async () => {
    const besides = ['sie-mirror.mjs', 'LICENSES.txt'].map((name) => stat(join(place.path, 'whole/b', name)));
    const size = String((await Promise.all(besides)).reduce((sum, found) => sum + found.size, 350 * 1024));
    const outs = ['--out', 'first', '--out', 'second', '--medium-size', size];
    await good(['bundle', ...outs, '--name', 'b', '--volume-size', '104KiB']);

    const [first = [], second = []] = await Promise.all(
      ['first/b', 'second/b'].map((path) => readdir(join(place.path, path))),
    );
    const isVolume = (name: string): boolean => name.endsWith('.tar');
    expect([...first.filter(isVolume), ...second.filter(isVolume)].sort()).toEqual(volumes);
    expect([first.filter(isVolume).length, second.filter(isVolume).length].every((count) => count > 0)).toBe(true);
    expect(first.filter((name) => !isVolume(name))).toEqual(second.filter((name) => !isVolume(name)));
    expect(await good(['verify', 'first/b', '--from', 'second/b'])).toContain('GOOD');
    expect(await cli(['bundle', '--out', 'third', '--name', 'b', '--medium-size', size])).toMatchObject({ code: 8 });
  });
});
