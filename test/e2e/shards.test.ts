import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { waitFor } from '../support/wait.ts';
import { dockerConfig, imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';

const mebi = 1024 * 1024;
let world: World;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;

const run = (
  args: string[],
  env: Record<string, string>,
  onStart?: (kill: (signal: NodeJS.Signals) => void) => void,
): Promise<CliResult> => runCli(args, { cwd: place.path, env, ...(onStart ? { onStart } : {}) });

beforeAll(async () => {
  place = await temporaryDirectory();
  world = await startWorld({ weightsBytes: 20 * mebi, layerBytes: 50 * 1024 });
  await mkdir(join(place.path, '.docker'));
  await writeFile(join(place.path, '.docker/config.json'), dockerConfig(world.zone));
  const { host } = world.source;
  const source = `${host}/${imageRepository}:${imageTag}`;
  for (const args of [
    ['snapshot', modelId],
    ['copy', source, 'oci:sie-mirror-store/oci', '--insecure-host', host],
    ['bundle', '--out', 'usb', '--name', 'b'],
  ])
    expect(await run(args, world.online)).toMatchObject({ code: 0 });
}, 60_000);

afterAll(async () => {
  await world.close();
  await place[Symbol.asyncDispose]();
});

it('three processes share an import; two are killed and started again; the end joins what they brought', async () => {
  const { host } = world.zone;
  const targets = ['--models', 's3://models/m', '--images', `${host}/m`, '--insecure-host', host];
  const shard = (index: number, onStart?: Parameters<typeof run>[2]): Promise<CliResult> =>
    run(
      ['import', 'usb/b', ...targets, '--shard', '3'],
      { ...world.inside, JOB_COMPLETION_INDEX: `${index}` },
      onStart,
    );
  const kills: ((signal: NodeJS.Signals) => void)[] = [];
  // Parts of large objects and pushes of layers wait; what is small arrives.
  world.s3.server.gate = ({ path }) => (path.includes('partNumber=') ? new Promise(() => {}) : undefined);
  world.zone.server.gate = ({ method }) => (method === 'PUT' ? new Promise(() => {}) : undefined);
  const first = [0, 1, 2].map((index) => shard(index, (kill) => kills.push(kill)));
  await waitFor(
    'two of them are in the middle of their work',
    () => world.s3.server.count(/partNumber=/) > 0 && world.zone.server.count(/^PUT /) > 0,
  );
  const codes: number[] = [];
  void Promise.all(first.map(async (each) => codes.push((await each).code)));
  await waitFor('the third is done', () => codes.length === 1);
  for (const kill of kills) kill('SIGKILL');
  expect((await Promise.all(first)).map(({ code }) => code).sort((a, b) => a - b)).toEqual([0, 137, 137]);
  world.s3.server.gate = undefined;
  world.zone.server.gate = undefined;
  expect(await run(['import', 'usb/b', ...targets, '--finish'], world.inside)).toMatchObject({ code: 3 });

  const again = await Promise.all([0, 1, 2].map((index) => shard(index)));
  const finished = await run(['import', 'usb/b', ...targets, '--finish'], world.inside);

  expect([...again, finished].map(({ code, stderr }) => [code, stderr])).toEqual(
    [...again, finished].map(({ stderr }) => [0, stderr]),
  );
  expect(world.s3.dangling()).toEqual([]);
  const whole = await run(['import', 'usb/b', ...targets, '--json'], world.inside);
  expect((JSON.parse(whole.stdout) as { totals: object }).totals).toMatchObject({ bytes: 0, models: 1, images: 1 });
});
