import { mkdir, statfs, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { pull } from '../../src/commands/pull.ts';
import { needOfImages } from '../../src/commands/pull/image-space.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from '../support/context.ts';
import { digestOf } from '../support/digest.ts';
import { codeOf } from '../support/failures.ts';
import { startHub, type TestHub } from '../support/hub.ts';
import { buildImage, type BuiltImage } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

/** A layer that a manifest names, and that no registry has: nothing may get so far as to ask for it. */
const layer = digestOf(Buffer.from('a layer of any size'));
let hub: TestHub;
let registry: TestRegistry;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeEach(async () => {
  hub = await startHub({ repos: [{ id: 'org/name', files: { 'config.json': '{}' } }] });
  registry = await startRegistry();
  place = await temporaryDirectory();
});

afterEach(async () => {
  await place[Symbol.asyncDispose]();
  await registry.close();
  await hub.close();
});

function withLayer(seed: string, size: number): BuiltImage {
  const image = buildImage({ seed, layers: 1 });
  const manifest = JSON.parse(Buffer.from(image.bytes).toString()) as { layers: object[] };
  manifest.layers.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: layer, size });
  const bytes = Buffer.from(JSON.stringify(manifest));
  const { mediaType } = image;
  return { ...image, bytes, digest: digestOf(bytes), manifests: new Map([[digestOf(bytes), { mediaType, bytes }]]) };
}

async function pullImages(...images: BuiltImage[]): Promise<Report> {
  for (const [index, image] of images.entries()) registry.put(`team/app${index}`, image, 'v1');
  const manifest = {
    apiVersion: 'sie-mirror/v1',
    kind: 'MirrorManifest',
    metadata: { name: 'x' },
    models: [{ repo: 'org/name' }],
    images: images.map((_, index) => ({ ref: `${registry.host}/team/app${index}:v1`, to: `app${index}` })),
  };
  await writeFile(join(place.path, 'm.yaml'), JSON.stringify(manifest));
  const env = { HF_ENDPOINT: hub.url };
  const { context } = await testContext({ cwd: place.path, env, insecureHosts: [registry.host], retries: 0 });
  try {
    return await pull({ manifest: 'm.yaml', store: 'store' }, context);
  } finally {
    await context.close();
  }
}

const fetched = (): number => registry.server.count(/^GET .*\/blobs\//) + hub.server.count(/resolve/);

it('an image that the store has no space for is not begun, nor is anything else', async () => {
  expect(await codeOf(pullImages(withLayer('a', 2 ** 52)))).toBe('E_NO_SPACE');
  expect(fetched()).toBe(0);
});

it('what images share takes its space once', async () => {
  const { bavail, bsize } = await statfs(place.path);
  const size = Math.floor(bavail * bsize * 0.6);
  const report = await pullImages(withLayer('a', size), withLayer('b', size));
  // That there is no such layer is another matter.
  expect(report.items.filter(({ state }) => state === 'failed')).toHaveLength(2);
  expect(report.items.some(({ error }) => error?.code === 'E_NO_SPACE')).toBe(false);
});

it('what is there already, or in part, takes no more', async () => {
  const image = withLayer('a', 2000);
  registry.put('team/app', image, 'v1');
  const { context } = await testContext({ cwd: place.path, insecureHosts: [registry.host] });
  const root = { mediaType: image.mediaType, digest: image.digest as `sha256:${string}`, size: image.bytes.length };
  const locked = { reference: `${registry.host}/team/app:v1`, root, bytes: 2 ** 52, to: 'app' };
  const need = needOfImages([locked], place.path, context);
  const all = await need.exactly();
  const path = join(place.path, 'oci/blobs', layer.replace(':', '/'));
  await mkdir(dirname(path), { recursive: true });

  await writeFile(`${path}.0123abcd-1-0123abcd-012345.partial`, '');
  await truncate(`${path}.0123abcd-1-0123abcd-012345.partial`, 1500);
  expect(await need.exactly()).toBe(all - 1500);
  await writeFile(path, '');
  await truncate(path, 2000);
  expect(await need.exactly()).toBe(all - 2000);
  await context.close();
});
