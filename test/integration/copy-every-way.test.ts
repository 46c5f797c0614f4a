import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import { copy } from '../../src/commands/copy.ts';
import type { Event } from '../../src/core/events.ts';
import type { Report } from '../../src/core/report.ts';
import { helmChart } from '../support/charts.ts';
import { testContext } from '../support/context.ts';
import { digestOf } from '../support/digest.ts';
import {
  type BlobContent,
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
  MEDIA_TYPES,
  multiArch,
} from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { placeTool } from '../support/tool.ts';

/** Content of every kind on every way: a registry, layouts, a bundle, and again a registry. */

const blob = (mediaType: string, text = mediaType): BlobContent => ({ mediaType, bytes: Buffer.from(text) });

/** An artifact with another field in the descriptor of its first layer; `layer` is what it has then. */
function withLayer(seed: string, more: object): BuiltImage {
  const image = buildArtifact({ seed });
  const document = JSON.parse(Buffer.from(image.bytes).toString()) as { layers: object[] };
  Object.assign(document.layers[0] ?? {}, more);
  const bytes = Buffer.from(JSON.stringify(document));
  const { mediaType } = image;
  const digest = digestOf(bytes);
  return { ...image, bytes, digest, manifests: new Map([[digest, { mediaType, bytes }]]) };
}

const carried = buildArtifact({ seed: 'carried' });
const kinds: Record<string, BuiltImage> = {
  'a docker image': buildImage({ seed: 'docker', docker: true }),
  'a docker list': buildIndex({ docker: true, children: [buildImage({ seed: 'docker child', docker: true })] }),
  'an OCI index': multiArch('index'),
  'a nested index': buildIndex({ children: [multiArch('nested'), buildImage({ seed: 'beside' })] }),
  'an artifact with the empty config': buildArtifact({ seed: 'artifact', artifactType: 'application/x.test' }),
  'a Helm chart': helmChart(),
  'a model of ModelPack': buildArtifact({
    seed: 'model',
    artifactType: 'application/vnd.cncf.model.manifest.v1+json',
    config: blob('application/vnd.cncf.model.config.v1+json', '{}'),
    layers: [blob('application/vnd.cncf.model.weight.v1.raw')],
  }),
  'a zstd layer': buildArtifact({
    seed: 'zstd',
    config: blob(MEDIA_TYPES.ociConfig, '{}'),
    layers: [blob('application/vnd.oci.image.layer.v1.tar+zstd')],
  }),
  'an empty layer': buildArtifact({ seed: 'empty', layers: [blob('application/x', '')] }),
  'bytes in the descriptor': withLayer('carried', {
    data: Buffer.from([...carried.blobs.values()].at(-1) ?? []).toString('base64'),
  }),
  'a foreign layer': withLayer('foreign', {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    urls: ['https://owner.invalid/layer'],
  }),
};
const names = Object.keys(kinds);
const signed = kinds['an OCI index'] as BuiltImage;
const sbom = buildArtifact({ seed: 'sbom', subject: descriptorOf(signed) });
const signature = cosignSignature(signed);

const repositoryOf = (name: string): string => name.toLowerCase().replaceAll(/\W+/g, '-');
/** Foreign layers stay with their owners. */
const lays = (name: string, image: BuiltImage): [string, Uint8Array][] =>
  [...image.blobs].slice(0, name === 'a foreign layer' ? 1 : undefined);

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let source: TestRegistry;
let zone: TestRegistry;
let told: readonly Event[];
/** When all images came out of the bundle. */
let warnings: string[];

async function run(from: string, target: string): Promise<Report> {
  const insecureHosts = [source.host, zone.host];
  const { context, events } = await testContext({ cwd: place.path, insecureHosts });
  told = events;
  try {
    return await copy({ source: from, target, referrers: true, allTags: true }, context);
  } finally {
    await context.close();
  }
}

beforeAll(async () => {
  place = await temporaryDirectory();
  source = await startRegistry();
  zone = await startRegistry();
  for (const name of names) source.put(repositoryOf(name), kinds[name] as BuiltImage, 'v1');
  source.put(repositoryOf('an OCI index'), sbom);
  source.put(repositoryOf('an OCI index'), signature, cosignTag(signed.digest));
  for (const name of names) await run(`${source.host}/${repositoryOf(name)}`, 'oci:store/oci');
  await run('oci:store/oci', 'oci:second');
  const { context } = await testContext({ cwd: place.path, toolFile: await placeTool(place.path) });
  await bundle({ store: 'store', out: '.', name: 'b', volumeSize: 64 * 1024 }, context);
  await context.close();
  await run('bundle:b', 'oci:third');
  warnings = told.flatMap((event) => (event.type === 'warning' ? [event.text] : []));
});

afterAll(async () => {
  await source.close();
  await zone.close();
  await place[Symbol.asyncDispose]();
});

describe.each([
  ['a registry', (repository: string) => `${source.host}/${repository}`, 'direct'],
  ['a layout of a layout', (repository: string) => `oci:second:${source.host}/${repository}`, 'layouts'],
  ['a bundle', (repository: string) => `bundle:b:${source.host}/${repository}`, 'bundled'],
  ['a layout of a bundle', (repository: string) => `oci:third:${source.host}/${repository}`, 'unbundled'],
] as const)('out of %s arrives byte for byte', (_, from, below) => {
  it.each(names)('%s', async (name) => {
    const image = kinds[name] as BuiltImage;
    const repository = `${below}/${repositoryOf(name)}`;

    const report = await run(from(repositoryOf(name)), `${zone.host}/${repository}`);

    expect(report.ok).toBe(true);
    expect(zone.manifest(repository, 'v1')?.bytes).toEqual(image.bytes);
    for (const [digest, { bytes }] of image.manifests) expect(zone.manifest(repository, digest)?.bytes).toEqual(bytes);
    for (const [digest, bytes] of lays(name, image))
      expect(Buffer.from(zone.blob(repository, digest) ?? 'nothing')).toEqual(Buffer.from(bytes));
    if (image !== signed) return;
    expect(zone.manifest(repository, sbom.digest)).toBeDefined();
    expect(zone.manifest(repository, cosignTag(image.digest))?.digest).toBe(signature.digest);
  });
});

it('a bundle is opened once, however many images come out of it: that it is not signed is said once', () => {
  expect(warnings).toHaveLength(1);
});
