import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { filesBelow, temporaryDirectory, textBelow } from '../support/place.ts';
import { dockerConfig, hubToken, imageRepository, imageTag, keys, modelId, startWorld } from '../support/world.ts';

it('carries a model and an image across the gap, twice without moving anything twice, and leaks no secret', async () => {
  await using place = await temporaryDirectory();
  const directory = place.path;
  const world = await startWorld();
  const printed: string[] = [];
  const run = async (args: string[], env: Record<string, string> = {}, program?: string): Promise<string> => {
    const result = await runCli(args, { cwd: directory, env, ...(program === undefined ? {} : { program }) });
    printed.push(result.stdout, result.stderr);
    expect(result.code, result.stderr).toBe(0);
    return result.stdout;
  };
  await mkdir(join(directory, '.docker'));
  await writeFile(join(directory, '.docker/config.json'), dockerConfig(world.zone));
  const reference = `${world.source.host}/${imageRepository}:${imageTag}`;

  await run(['keygen', '--out', 'keys']);
  await run(['snapshot', modelId, '--store', 'store'], world.online);
  await run(['copy', reference, 'oci:store/oci', '--insecure-host', world.source.host]);
  await run([
    'bundle',
    '--store',
    'store',
    '--out',
    'usb',
    '--name',
    'b',
    '--volume-size',
    '128KiB',
    '--sign',
    'keys/sie-mirror.key.pem',
  ]);

  const tool = join(directory, 'usb/b/sie-mirror.mjs');
  const before = await filesBelow(join(directory, 'usb'));
  await run(['verify', 'usb/b', '--key', 'keys/sie-mirror.pub.pem'], {}, tool);
  const target = [
    '--models',
    's3://models/a/models',
    '--images',
    `${world.zone.host}/m`,
    '--insecure-host',
    world.zone.host,
    '--key',
    'keys/sie-mirror.pub.pem',
  ];
  await run(['import', 'usb/b', ...target], world.inside, tool);
  const writes = world.s3.server.count(/^(?:PUT|POST) /);
  const pushes = world.zone.server.count(/^(?:PUT|POST|PATCH) /);
  const again = JSON.parse(await run(['import', 'usb/b', ...target, '--json'], world.inside, tool)) as {
    totals: { bytes: number };
  };
  expect(again.totals.bytes).toBe(0);
  expect(world.s3.server.count(/^(?:PUT|POST) /)).toBe(writes);
  expect(world.zone.server.count(/^(?:PUT|POST|PATCH) /)).toBe(pushes);
  expect(await filesBelow(join(directory, 'usb'))).toEqual(before);

  const base = 'models/a/models/models--sie-test--tiny-e5';
  expect(world.s3.objects.get(`${base}/refs/main`)?.body.toString()).toBe(world.commit);
  const names = [...world.s3.objects.keys()];
  expect(names.filter((name) => name.endsWith('/') || name.includes('/blobs/'))).toEqual([]);
  const listed = JSON.parse(world.s3.objects.get(`${base}/trees/${world.commit}.json`)?.body.toString() ?? '{}') as {
    files: Record<string, unknown>;
  };
  expect(Object.keys(listed.files).sort()).toEqual(
    names
      .filter((name) => name.includes('/snapshots/'))
      .map((name) => name.split(`${world.commit}/`)[1] ?? '')
      .sort((a, b) => (a < b ? -1 : 1)),
  );
  // The default keeps the source's host in the path; a port's colon becomes a dash.
  const imported = world.zone.manifest(`m/${world.source.host.replace(':', '-')}/${imageRepository}`, imageTag);
  expect(imported?.digest).toBe(world.image.digest);

  await run(['smoke', world.gateway.url, '--model', modelId, '--gpu', 'l4', '--dim', '8', '--timeout', '30']);
  const privateKey = (await readFile(join(directory, 'keys/sie-mirror.key.pem'), 'utf8')).split('\n')[1] ?? '';
  const traces = `${printed.join('\n')}\n${await textBelow(join(directory, 'usb'))}\n${await textBelow(join(directory, 'store'))}\n${await readFile(join(directory, 'b.receipt.json'), 'utf8')}`;
  for (const secret of [
    hubToken,
    keys.secretAccessKey,
    'zone-password',
    Buffer.from('importer:zone-password').toString('base64'),
    privateKey,
  ])
    expect(traces).not.toContain(secret);
  await world.close();
});

it('does not call complete what an earlier import to another target left undone', async () => {
  await using place = await temporaryDirectory();
  const world = await startWorld({ weightsBytes: 1024 });
  const run = async (args: string[], code = 0, env: Record<string, string> = {}): Promise<void> => {
    const result = await runCli(args, { cwd: place.path, env });
    expect(result.code, result.stderr).toBe(code);
  };
  const isComplete = async (): Promise<unknown> =>
    (JSON.parse(await readFile(join(place.path, 'b.receipt.json'), 'utf8')) as { complete: unknown }).complete;
  const zone = ['--images', world.zone.host, '--insecure-host', world.zone.host];
  await mkdir(join(place.path, '.docker'));
  await writeFile(join(place.path, '.docker/config.json'), dockerConfig(world.zone));
  await run(['snapshot', modelId, '--store', 'store'], 0, world.online);
  const source = `${world.source.host}/${imageRepository}:${imageTag}`;
  await run(['copy', source, 'oci:store/oci', '--insecure-host', world.source.host]);
  await run(['bundle', '--store', 'store', '--out', 'usb', '--name', 'b']);
  world.zone.server.faults = (request) => (request.method === 'PUT' ? { kind: 'status', status: 500 } : undefined);
  await run(['import', 'usb/b', ...zone, '--retries', '0'], 5);
  expect(await isComplete()).toBe(false);

  await run(['import', 'usb/b', '--models', 'file:models']);
  expect(await isComplete()).toBe(false);

  world.zone.server.faults = undefined;
  await run(['import', 'usb/b', ...zone]);
  expect(await isComplete()).toBe(true);
  await world.close();
});
