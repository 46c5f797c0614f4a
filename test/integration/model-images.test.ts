import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { BundleReader } from '../../src/bundle/reader.ts';
import { parseReceipt, type Receipt } from '../../src/bundle/records/receipt.ts';
import { bundle as makeDelta } from '../../src/commands/bundle.ts';
import { diff } from '../../src/commands/inspect/diff.ts';
import { importBundle } from '../../src/commands/import.ts';
import type { ImportOptions } from '../../src/commands/import/options.ts';
import { importLocal } from '../../src/commands/import/local.ts';
import { values } from '../../src/commands/values.ts';
import { type Digest, sha256 } from '../../src/core/digest.ts';
import type { Content } from '../../src/core/ports.ts';
import type { Report } from '../../src/core/report.ts';
import { counted } from '../../src/core/stream.ts';
import { verifyZone } from '../../src/commands/verify/zone.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { type BuiltImage, multiArch } from '../support/images.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

const noImage: BuiltImage = {
  mediaType: '',
  bytes: Buffer.alloc(0),
  digest: '',
  blobs: new Map(),
  manifests: new Map(),
};
const files = { 'model.safetensors': Buffer.alloc(60_000, 'weights'), 'sub/config.json': Buffer.from('{}') };
let bundle: MadeBundle;
let zone: TestRegistry;

beforeAll(async () => {
  bundle = await makeBundle({ 'Org/Name': files });
});

afterAll(() => bundle[Symbol.asyncDispose]());

beforeEach(async () => {
  zone = await startRegistry();
  await rm(join(bundle.path, 'b.receipt.json'), { force: true });
});

afterEach(() => zone.close());

async function within(
  work: (context: Awaited<ReturnType<typeof testContext>>['context']) => Promise<Report>,
): Promise<Report> {
  const { context } = await testContext({ cwd: bundle.path, insecureHosts: [zone.host] });
  try {
    return await work(context);
  } finally {
    await context.close();
  }
}

const bring = (options: Partial<ImportOptions> = {}): Promise<Report> =>
  within((context) => importBundle({ bundle: 'usb/b', models: `oci://${zone.host}/models`, ...options }, context));
const commit = (): string => bundle.commits['Org/Name'] ?? '';
const repository = 'models/org/name';

interface Document {
  mediaType: string;
  artifactType?: string;
  annotations: Record<string, string>;
  config: { mediaType: string; digest: string };
  layers: { mediaType: string; digest: string; size: number; annotations?: Record<string, string> }[];
  manifests: { digest: string; platform: { os: string; architecture: string } }[];
}

const documentOf = (reference: string, name = repository): Document =>
  JSON.parse(Buffer.from(zone.manifest(name, reference)?.bytes ?? '').toString()) as Document;
const blobOf = (digest: string): Buffer => Buffer.from(zone.blob(repository, digest) ?? '');
const receipt = async (name = 'b'): Promise<Receipt> =>
  parseReceipt(await readFile(join(bundle.path, `${name}.receipt.json`)), name);
const pushes = (): number => zone.server.count(/^(?:PUT|POST|PATCH) /);

/** Sizes of the bodies that were sent to a repository. */
const bodiesOf = (name: string): number[] =>
  zone.server.requests
    .filter(({ method, path }) => ['PUT', 'PATCH', 'POST'].includes(method) && path.startsWith(`/v2/${name}/`))
    .map(({ headers }) => Number(headers['content-length'] ?? 0));

/** Counts the bytes of models that are read out of volumes. */
function watchReads(): () => number {
  const blob = Object.getOwnPropertyDescriptor(BundleReader.prototype, 'blob')?.value as (
    this: BundleReader,
    digest: Digest,
  ) => Content;
  let bytes = 0;
  const spy = vi.spyOn(BundleReader.prototype, 'blob').mockImplementation(function (this: BundleReader, digest) {
    return counted(blob.call(this, digest), (more) => {
      bytes += more;
    });
  });
  return () => {
    spy.mockRestore();
    return bytes;
  };
}

const plain = (layer: Buffer): Buffer => (layer[0] === 0x1f ? gunzipSync(layer) : layer);

/** Names and bytes of the members of a tar. */
function membersOf(tar: Buffer): Map<string, Buffer> {
  const members = new Map<string, Buffer>();
  for (let at = 0; tar[at] !== 0 && at < tar.length;) {
    const name = tar.toString('latin1', at, tar.indexOf(0, at));
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8);
    members.set(name, tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return members;
}

describe('a model as an image', () => {
  it('has its files below models/, for every processor, and the tags of its commit and refs', async () => {
    const report = await bring();

    expect(report.ok).toBe(true);
    expect(zone.tags(repository)).toEqual([commit(), 'main'].toSorted());
    const { manifests } = documentOf('main');
    expect(manifests.map(({ platform }) => platform)).toEqual([
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64' },
    ]);
    for (const { digest, platform } of manifests) {
      const { config, layers } = documentOf(digest);
      expect(layers.map(({ mediaType }) => mediaType)).toEqual(['application/vnd.oci.image.layer.v1.tar']);
      const about = JSON.parse(blobOf(config.digest).toString()) as {
        architecture: string;
        rootfs: { diff_ids: string[] };
      };
      expect(about.architecture).toBe(platform.architecture);
      expect(about.rootfs.diff_ids).toEqual(layers.map((layer) => layer.digest));
      const members = membersOf(blobOf(layers[0]?.digest ?? ''));
      expect([...members.keys()]).toEqual(['models/model.safetensors', 'models/sub/config.json']);
      expect(members.get('models/model.safetensors')?.equals(files['model.safetensors'])).toBe(true);
    }
  });

  it('is the same image whenever it is made, in whatever registry', async () => {
    await bring();
    const first = zone.manifest(repository, 'main')?.digest;
    await zone.close();
    zone = await startRegistry();

    await bring({ models: `oci://${zone.host}/other/place` });

    expect(zone.manifest('other/place/org/name', 'main')?.digest).toBe(first);
  });

  it('is not made again when it is there: nothing is uploaded, and its blobs are not asked for', async () => {
    await bring();
    zone.server.requests.splice(0);

    expect((await bring()).items.map(({ state }) => state)).toEqual(['present']);

    expect(pushes()).toBe(0);
    expect(zone.server.count(/^(?:GET|HEAD) .*\/org\/name\/blobs\//)).toBe(0);
  });

  it('is made by one of the machines that share an import, and on the receipt when all are done', async () => {
    const shards = [];
    for (const shard of ['0/2', '1/2']) shards.push(await bring({ shard, receipt: 'part.json' }));

    expect(shards.flatMap(({ items }) => items.map(({ state }) => state))).toEqual(['done']);
    expect(zone.tags(repository)).toEqual([commit(), 'main'].toSorted());
    const report = await bring({ finish: true });
    expect(report.items.map(({ state }) => state)).toEqual(['present']);
    expect(await receipt()).toMatchObject({ complete: true, models: [{ repo: 'Org/Name' }] });
  });

  it('is made with one read of each byte, while it is uploaded', async () => {
    const read = watchReads();

    await bring();

    expect(read()).toBe(Object.values(files).reduce((sum, { length }) => sum + length, 0));
    const sent = bodiesOf(repository);
    const [layer] = documentOf(documentOf('main').manifests[0]?.digest ?? '').layers;
    expect(sent.filter((size) => size === layer?.size)).toHaveLength(1);
    expect(Math.max(...sent)).toBe(layer?.size);
  });

  it('that was broken off is gone on with: nothing moves twice', async () => {
    zone.server.faults = ({ method, path }) =>
      method === 'PUT' && path.includes('/manifests/') ? { kind: 'status', status: 500 } : undefined;
    expect((await bring()).items[0]?.state).toBe('failed');
    expect(zone.tags(repository)).toEqual([]);
    zone.server.faults = () => undefined;
    zone.server.requests.splice(0);

    expect((await bring()).items[0]?.state).toBe('done');

    const [layer] = documentOf(documentOf('main').manifests[0]?.digest ?? '').layers;
    expect(bodiesOf(repository).filter((size) => size >= (layer?.size ?? 0))).toEqual([]);
  });

  it('gets a tag again that leads elsewhere now', async () => {
    await bring();
    const digest = zone.manifest(repository, 'main')?.digest;
    const other = await within((context) =>
      importLocal({ path: 'tool.mjs', as: 'Org/Name', models: `oci://${zone.host}/models` }, context),
    );
    expect(other.ok).toBe(true);
    expect(zone.manifest(repository, 'main')?.digest).not.toBe(digest);

    await bring();

    expect(zone.manifest(repository, 'main')?.digest).toBe(digest);
  });

  it('is on a receipt, which lies in the registry too, and which values reads', async () => {
    await bring();

    const found = await receipt();
    const digest = zone.manifest(repository, commit())?.digest as Digest;
    expect(found).toMatchObject({
      complete: true,
      targets: { models: `oci://${zone.host}/models` },
      models: [{ repo: 'Org/Name', image: { reference: `${zone.host}/${repository}:${commit()}`, digest } }],
    });
    const { layers } = JSON.parse(
      Buffer.from(zone.manifest('models/sie-mirror-receipts', 'b')?.bytes ?? '').toString(),
    ) as Document;
    const stored = zone.blob('models/sie-mirror-receipts', layers[0]?.digest ?? '');
    expect(Buffer.from(stored ?? '').equals(await readFile(join(bundle.path, 'b.receipt.json')))).toBe(true);
    const report = await within((context) =>
      values({ receipt: 'b.receipt.json', consumers: [], pullSecret: 'regcred', force: false }, context),
    );
    const text = report.summary.join('\n');
    expect(text).toContain(`storageUri: "oci+native://${zone.host}/${repository}@${digest}"`);
    expect(text).toContain(`reference: "${zone.host}/${repository}@${digest}"`);
    expect(text).toContain('pull-secret');
    expect(text).not.toContain('vllm/example.yaml');
  });

  it('is verified against its receipt, every byte', async () => {
    await bring();
    const check = (registry: string): Promise<Report> =>
      within((context) => verifyZone({ images: registry, receipts: ['b.receipt.json'] }, context));

    expect(await check(`${zone.host}/models`)).toMatchObject({ ok: true, verdict: 'GOOD', items: [{ state: 'done' }] });
    const { digest = '' } = documentOf(documentOf('main').manifests[0]?.digest ?? '').layers[0] ?? {};
    zone.put(repository, { ...noImage, blobs: new Map([[digest, Buffer.from('other')]]) });

    expect((await check(`${zone.host}/models`)).ok).toBe(false);
  });

  it('is, by its receipt, what the bundle holds', async () => {
    await bring();

    const found = await within((context) => diff({ before: 'usb/b', after: 'b.receipt.json' }, context));

    expect(found.items).toEqual([]);
  });

  it('is planned without a write', async () => {
    const report = await bring({ dryRun: true });

    expect(report.items.map(({ kind, state }) => [kind, state])).toEqual([['model', 'planned']]);
    expect(pushes()).toBe(0);
  });
});

describe('a model on a base image', () => {
  const base = multiArch('busybox', ['linux/amd64', 'linux/arm64/v8']);
  const ociBase = (): string => `${zone.host}/library/busybox:1`;

  beforeEach(() => zone.put('library/busybox', base, '1'));

  it('has what the image has, below its files and for the same processors', async () => {
    await bring({ ociBase: ociBase() });

    const { manifests } = documentOf('main');
    expect(manifests.map(({ platform }) => platform)).toEqual([
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64', variant: 'v8' },
    ]);
    for (const [index, { digest }] of manifests.entries()) {
      const { config, layers } = documentOf(digest);
      const below = documentOf(
        documentOf('1', 'library/busybox').manifests[index]?.digest ?? '',
        'library/busybox',
      ).layers;
      expect(layers.slice(0, -1)).toEqual(below);
      expect(membersOf(blobOf(layers.at(-1)?.digest ?? '')).has('models/sub/config.json')).toBe(true);
      const about = JSON.parse(blobOf(config.digest).toString()) as Record<string, unknown>;
      expect(about).toMatchObject({ os: 'linux', config: { Env: ['PATH=/usr/bin'] } });
      expect(about['history']).toBeUndefined();
      const unpacked = layers.map((layer) => sha256(plain(blobOf(layer.digest))));
      expect(about['rootfs']).toEqual({ type: 'layers', diff_ids: unpacked });
    }
  });

  it('is another image than one without it, and the same again', async () => {
    await bring();

    expect((await bring({ ociBase: ociBase() })).items[0]?.state).toBe('done');
    expect((await bring({ ociBase: ociBase() })).items[0]?.state).toBe('present');
    expect((await bring()).items[0]?.state).toBe('done');
  });

  it.each<[string, () => Partial<ImportOptions>, string]>([
    ['an image for another system', () => ({ ociBase: `${zone.host}/windows:1` }), 'E_USAGE'],
    ['one that is not there', () => ({ ociBase: `${zone.host}/library/busybox:2` }), 'E_NOT_FOUND'],
    ['an artifact', () => ({ ociBase: ociBase(), ociForm: 'modelpack' }), 'E_USAGE'],
    ['a bucket', () => ({ ociBase: ociBase(), models: 's3://models' }), 'E_USAGE'],
  ])('is refused with %s, and nothing is written', async (_, options, code) => {
    zone.put('windows', multiArch('windows', ['windows/amd64']), '1');

    expect(await codeOf(bring(options()))).toBe(code);

    expect(pushes()).toBe(0);
  });
});

describe('a model as a ModelPack artifact', () => {
  it('has each file as a layer of its own bytes, with its path and its kind', async () => {
    await bring({ ociForm: 'modelpack' });

    const { artifactType, config, layers } = documentOf('main');
    expect(artifactType).toBe('application/vnd.cncf.model.manifest.v1+json');
    expect(config.mediaType).toBe('application/vnd.cncf.model.config.v1+json');
    expect(
      layers.map(({ mediaType, digest, annotations }) => [mediaType, digest, annotations?.['org.cncf.model.filepath']]),
    ).toEqual([
      ['application/vnd.cncf.model.weight.v1.raw', sha256(files['model.safetensors']), 'model.safetensors'],
      ['application/vnd.cncf.model.weight.config.v1.raw', sha256(files['sub/config.json']), 'sub/config.json'],
    ]);
    expect(blobOf(layers[0]?.digest ?? '').equals(files['model.safetensors'])).toBe(true);
    expect(JSON.parse(blobOf(config.digest).toString())).toEqual({
      descriptor: { name: 'Org/Name', revision: commit() },
      modelfs: { type: 'layers', diffIds: layers.map(({ digest }) => digest) },
      config: {},
    });
  });

  it('takes the place of an image when it is asked for', async () => {
    await bring();

    expect((await bring({ ociForm: 'modelpack' })).items[0]?.state).toBe('done');

    expect(documentOf('main').artifactType).toBe('application/vnd.cncf.model.manifest.v1+json');
  });
});

describe('what is wrong', () => {
  it('in the volumes never becomes an image', async () => {
    await writeFile(join(bundle.path, 'm.bin'), 'weights');

    const report = await within((context) =>
      importLocal(
        { path: 'm.bin', as: 'a/b', models: `oci://${zone.host}/models`, sha256: sha256('other').slice(7) },
        context,
      ),
    );

    expect(report.items[0]?.error).toMatchObject({ code: 'E_DIGEST_MISMATCH', at: { side: 'source' } });
    expect([zone.tags('models/a/b'), zone.openUploads]).toEqual([[], 0]);
    expect(zone.server.count(/^PUT .*\/a\/b\/manifests\//)).toBe(0);
    // What says that it was begun.
    expect(zone.server.count(/^PUT .*\/a\/b\/blobs\//)).toBe(1);
  });

  it('is a delta that leaves out files: an image needs them all', async () => {
    await bundle.within(async (context) => {
      const made = { ...context, toolFile: join(bundle.path, 'tool.mjs') };
      await makeDelta({ store: 'store', out: 'delta', name: 'd', base: 'usb/b' }, made);
    });

    const report = await bring({ bundle: 'delta/d' });

    expect([report.exit, report.items[0]?.error?.code]).toEqual([8, 'E_BASE_MISSING']);
    expect(zone.repositories()).toEqual(['models/sie-mirror-receipts']);
  });

  it.each<[string, Partial<ImportOptions>]>([
    ['a form where there is no registry', { models: 's3://models', ociForm: 'modelpack' }],
    ['a place that no registry has', { models: 'oci://not a host/x' }],
  ])('is said of %s', async (_, options) => {
    expect(await codeOf(bring(options))).toBe('E_USAGE');
  });
});
