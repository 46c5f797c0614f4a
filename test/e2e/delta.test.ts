import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { buildImage, buildIndex } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { tinyModel } from '../support/repos.ts';
import { dockerConfig, imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';

interface DeltaInventory {
  base?: { name: string; held: { digest: string; key?: string; repository?: string }[] };
  blobs: { path: string; digest: string }[];
}

let world: World;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let commit: string;
const second = 'v0.3.5-cuda12-default';

const run = (args: string[], env: Record<string, string> = {}): Promise<CliResult> =>
  runCli(args, { cwd: place.path, env });
const good = async (args: string[], env: Record<string, string> = {}): Promise<string> => {
  const result = await run(args, env);
  expect(result.code, result.stderr).toBe(0);
  return result.stdout;
};
const targets = (prefix: string): string[] => [
  '--models',
  `s3://models/${prefix}`,
  '--images',
  `${world.zone.host}/${prefix}`,
  '--insecure-host',
  world.zone.host,
];
const copy = (tag: string): Promise<string> =>
  good([
    'copy',
    `${world.source.host}/${imageRepository}:${tag}`,
    'oci:store/oci',
    '--insecure-host',
    world.source.host,
  ]);

/** The second release: the same weights with another config, and an image of which one platform stayed as it was. */
function release(): void {
  const files = tinyModel(1, { weightsBytes: 256 * 1024, nonAscii: true });
  ({ commit } = world.hub.addRepo({ id: modelId, license: 'mit', files: { ...files, 'config.json': '{"new":true}' } }));
  const [old = ''] = [...world.image.manifests.keys()];
  const kept = buildImage({
    seed: 'server-0',
    platform: { os: 'linux', architecture: 'amd64' },
    layers: 2,
    layerBytes: 65_536,
  });
  expect(kept.digest).toBe(old);
  const fresh = buildImage({
    seed: 'fresh',
    platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    layerBytes: 9000,
  });
  world.source.put(imageRepository, buildIndex({ children: [kept, fresh] }), second);
}

beforeAll(async () => {
  place = await temporaryDirectory();
  world = await startWorld();
  await mkdir(join(place.path, '.docker'));
  await writeFile(join(place.path, '.docker/config.json'), dockerConfig(world.zone));
  await good(['snapshot', modelId, '--store', 'store'], world.online);
  await copy(imageTag);
  await good(['bundle', '--store', 'store', '--out', 'usb', '--name', 'first']);
  await good(['import', 'usb/first', ...targets('a')], world.inside);
  release();
  await good(['snapshot', modelId, '--store', 'store'], world.online);
  await copy(second);
  await good(['bundle', '--store', 'store', '--out', 'usb', '--name', 'second', '--base', 'first.receipt.json']);
}, 60_000);

afterAll(async () => {
  await world.close();
  await place[Symbol.asyncDispose]();
});

const inventoryOf = async (name: string): Promise<DeltaInventory> =>
  JSON.parse(await readFile(join(place.path, 'usb', name, 'inventory.json'), 'utf8')) as DeltaInventory;

it('leaves out what the zone holds, and lists where it is', async () => {
  const [first, delta] = [await inventoryOf('first'), await inventoryOf('second')];
  const before = new Set(first.blobs.map(({ digest }) => digest));
  const weights = first.blobs.find(({ path }) => /models--.*\/blobs\/[0-9a-f]{64}$/.test(path));
  expect(delta.base?.name).toBe('first');
  expect(delta.base?.held.find(({ digest }) => digest === weights?.digest)?.key).toMatch(/model\.safetensors$/);
  expect(delta.base?.held.some(({ repository }) => repository?.endsWith(imageRepository))).toBe(true);
  const twice = delta.blobs.filter(({ path, digest }) => before.has(digest) && /^hub\/.*\/blobs\//.test(path));
  expect(twice).toEqual([]);
});

it('is good by itself, and says what it builds on', async () => {
  expect(await good(['verify', 'usb/second'])).toContain('`first`');
  expect(await good(['inspect', 'usb/second'])).toContain('`first`');
});

it('is the same when it is made from the receipt, the inventory or the bundle', async () => {
  const bases = ['usb/first', 'usb/first/inventory.json'];
  const made = await inventoryOf('second');
  for (const [index, base] of bases.entries()) {
    const out = `again-${index}`;
    await good(['bundle', '--store', 'store', '--out', out, '--name', 'second', '--base', base]);
    const again = JSON.parse(await readFile(join(place.path, out, 'second/inventory.json'), 'utf8')) as DeltaInventory;
    expect(again.blobs).toEqual(made.blobs);
    expect(again.base?.held).toEqual(made.base?.held);
  }
});

it('is refused before anything is written where its base is missing', async () => {
  const writes = world.s3.server.count(/^(?:PUT|POST) /);
  const result = await run(['import', 'usb/second', ...targets('elsewhere')], world.inside);
  expect(result.code).toBe(8);
  expect(result.stderr).toMatch(/`first`.*first/s);
  expect(world.s3.server.count(/^(?:PUT|POST) /)).toBe(writes);
  expect(world.zone.repositories().filter((name) => name.startsWith('elsewhere'))).toEqual([]);
});

it('gives the zone the whole model and the whole image', async () => {
  await good(['import', 'usb/second', ...targets('a')], world.inside);
  const base = `models/a/models--sie-test--tiny-e5`;
  const files = [...world.s3.objects.keys()].filter((key) => key.startsWith(`${base}/snapshots/${commit}/`));
  expect(files.length).toBe(Object.keys(tinyModel(1, { nonAscii: true })).length);
  expect(world.s3.objects.get(`${base}/refs/main`)?.body.toString()).toBe(commit);
  expect(world.s3.objects.get(`${base}/snapshots/${commit}/config.json`)?.body.toString()).toBe('{"new":true}');
  const repository = `a/${world.source.host.replace(':', '-')}/${imageRepository}`;
  expect(world.zone.manifest(repository, second)?.digest).toBe(world.source.manifest(imageRepository, second)?.digest);
});

it('can be the base of the next one', async () => {
  await good(['bundle', '--store', 'store', '--out', 'usb', '--name', 'third', '--base', 'second.receipt.json']);
  expect((await inventoryOf('third')).blobs.filter(({ path }) => /^hub\/.*\/blobs\//.test(path))).toEqual([]);
  await good(['import', 'usb/third', ...targets('a')], world.inside);
});

it.each([
  ['that is not there', 'none.json', 7],
  ['that is something else', 'usb/first/VERIFY.md', 2],
  ['that was cut off', 'cut.json', 4],
  ['that says what was wanted', 'store/mirror.lock.json', 2],
  ['whose inventory was changed', 'changed', 4],
])('has no base %s', async (_, base, code) => {
  await writeFile(join(place.path, 'cut.json'), '{"schema":"sie-mirror/rec');
  await cp(join(place.path, 'usb/first'), join(place.path, 'changed'), { recursive: true });
  const inventory = join(place.path, 'changed/inventory.json');
  await writeFile(inventory, (await readFile(inventory, 'utf8')).replace(/"size": \d/, '"size": 7'));
  expect(await run(['bundle', '--store', 'store', '--out', 'usb', '--name', 'x', '--base', base])).toMatchObject({
    code,
  });
});

it('can be seen before it is carried: what came, went and changed', async () => {
  const pairs = [
    ['usb/first', 'usb/second'],
    ['first.receipt.json', 'usb/second'],
    ['usb/first/inventory.json', 'usb/second/inventory.json'],
  ];
  for (const [before = '', after = ''] of pairs) {
    const { items, totals } = JSON.parse(await good(['inspect', before, '--diff', after, '--json'])) as {
      items: {
        kind: string;
        name: string;
        bytes?: number;
        detail: { change: string; files?: { changed: string[] } };
      }[];
      totals: Record<string, number>;
    };
    expect(items.map(({ kind, detail }) => `${kind} ${detail.change}`)).toEqual(['model changed', 'image came']);
    expect(items[0]?.detail.files?.changed).toEqual(['config.json']);
    // Of the new image what the old one did not have, whatever is known of the sizes of that.
    const images = items.filter(({ kind }) => kind === 'image').reduce((sum, { bytes = 0 }) => sum + bytes, 0);
    expect(totals).toMatchObject({ came: 1, went: 0, changed: 1, bytes: images + '{"new":true}'.length });
    expect(images).toBeGreaterThan(2 * 9000);
    expect(images).toBeLessThan(2 * 9000 + 8000);
  }
  expect(await good(['inspect', 'usb/first', '--diff', 'usb/first'])).toContain('the same');
  const [between, inOrder] = [
    ['usb/first', '--diff', 'usb/second'],
    ['--diff', 'usb/first', 'usb/second'],
  ].map(async (args) => good(['inspect', ...args]));
  expect(await inOrder).toBe(await between);
  for (const args of [[], ['--diff', 'usb/first'], ['usb/first', '--diff', 'usb/second', 'usb/first']])
    expect(await run(['inspect', ...args])).toMatchObject({ code: 2 });
});
