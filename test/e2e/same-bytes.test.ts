import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { binary, type CliResult, runCli } from '../support/cli.ts';
import { startFileServer } from '../support/file-server.ts';
import { buildImage } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { tinyModel } from '../support/repos.ts';
import { imageRepository, imageTag, modelId, startWorld } from '../support/world.ts';

/** Two machines that have nothing in common but the lock: path, user's mask, locale, time zone, and the order in which things arrive. */
const machines = [
  { name: 'a', mask: '022', concurrency: '1', env: { LANG: 'C', TZ: 'UTC' } },
  {
    name: 'b/far/away',
    mask: '077',
    concurrency: '8',
    env: { LANG: 'de_DE.UTF-8', LC_ALL: 'tr_TR.UTF-8', TZ: 'Asia/Kathmandu' },
  },
];

it('the same lock gives the same bytes on another machine', async () => {
  await using place = await temporaryDirectory();
  const world = await startWorld({ weightsBytes: 300 * 1024 });
  const server = await startFileServer({ '/notes.txt': 'notes', '/a.gguf': 'GGUF' });
  world.hub.addRepo({ id: 'Org/Other', files: tinyModel(2) });
  world.hub.addRepo({
    id: 'org/data',
    type: 'dataset',
    files: { 'größe.csv': 'a,b\n', 'Z.csv': 'z\n', 'a.csv': 'a\n' },
  });
  for (const repository of ['z/last', 'a/first']) world.source.put(repository, buildImage({ seed: repository }), 'v1');
  const { host } = world.source;
  const manifest = {
    apiVersion: 'sie-mirror/v1',
    kind: 'MirrorManifest',
    metadata: { name: 'site' },
    models: [
      { repo: modelId },
      { repo: 'Org/Other', filter: 'all' },
      { repo: 'org/data', type: 'dataset', filter: 'all' },
    ],
    images: [`${imageRepository}:${imageTag}`, 'z/last:v1', 'a/first:v1'].map((name) => ({ ref: `${host}/${name}` })),
    files: ['notes.txt', 'a.gguf'].map((name) => ({ url: `${server.url}/${name}` })),
  };
  await writeFile(join(place.path, 'm.yaml'), JSON.stringify(manifest));
  const planned = await runCli(['plan', 'm.yaml', '--insecure-host', host], { cwd: place.path, env: world.online });
  expect(planned, planned.stderr).toMatchObject({ code: 0 });
  const lock = await readFile(join(place.path, 'mirror.lock.json'));
  const shell = join(place.path, 'as-user.sh');
  await writeFile(shell, `umask "$MASK"\nexec "${process.execPath}" "${binary}" "$@"\n`);

  const sums: string[] = [];
  const seen: string[][] = [];
  for (const { name, mask, concurrency, env } of machines) {
    const cwd = join(place.path, name);
    await mkdir(cwd, { recursive: true });
    await writeFile(join(cwd, 'site.lock.json'), lock);
    const run = async (args: string[]): Promise<CliResult> =>
      runCli(args, { cwd, env: { ...world.online, ...env, MASK: mask }, node: '/bin/sh', program: shell });
    world.source.server.latencyMs = name === 'a' ? 0 : 3;
    const pulled = await run([
      'pull',
      'site.lock.json',
      '--store',
      's',
      '--concurrency',
      concurrency,
      '--insecure-host',
      host,
    ]);
    expect(pulled, pulled.stderr).toMatchObject({ code: 0 });
    const made = await run(['bundle', '--store', 's', '--out', 'usb', '--volume-size', '200KiB']);
    expect(made, made.stderr).toMatchObject({ code: 0 });
    sums.push(await readFile(join(cwd, 'usb/site/SHA256SUMS'), 'utf8'));
    seen.push((await readdir(join(cwd, 'usb/site'))).sort());
  }
  await server.close();
  await world.close();

  expect(sums[1]).toBe(sums[0]);
  expect(seen[1]).toEqual(seen[0]);
  expect(seen[0]?.filter((name) => name.endsWith('.tar')).length).toBeGreaterThan(3);
}, 60_000);
