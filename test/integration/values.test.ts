import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse as parseToml } from 'smol-toml';
import { parse, parseAllDocuments } from 'yaml';
import { copy } from '../../src/commands/copy.ts';
import { values, type ValuesOptions } from '../../src/commands/values.ts';
import type { Receipt } from '../../src/bundle/receipt.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { buildImage } from '../support/images.ts';
import { llmkubeModel } from '../support/llmkube.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { commit, mirrored, receivedImage, receivedModel, sieReferences, writeReceipt } from '../support/receipts.ts';
import { startRegistry } from '../support/registry.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let warnings: string[];

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(async () => {
  await place[Symbol.asyncDispose]();
});

const zone = 'registry.zone:5000/mirror';
const models = 's3://models/2026-11/models';
const whole: Partial<Receipt> = {
  targets: { models, images: zone },
  models: [receivedModel('BAAI/bge-m3', ['config.json', 'model.safetensors'])],
  images: mirrored(zone, sieReferences('0.3.4')),
};

async function run(
  receipt: Partial<Receipt>,
  options: Partial<ValuesOptions> = {},
  settings: { env?: Record<string, string>; insecureHosts?: string[] } = {},
): Promise<Report> {
  const path = await writeReceipt(place.path, receipt);
  const { context, events } = await testContext({ cwd: place.path, ...settings });
  try {
    return await values(
      { receipt: path, out: 'deploy', consumers: [], pullSecret: 'regcred', force: false, ...options },
      context,
    );
  } finally {
    warnings = events.flatMap((event) => (event.type === 'warning' ? [event.text] : []));
    await context.close();
  }
}

const deployed = (path: string): string => join(place.path, 'deploy', path);
const text = async (path: string): Promise<string> => readFile(deployed(path), 'utf8');
const yaml = async (path: string): Promise<unknown> => parse(await text(path));
const documents = async (path: string): Promise<unknown[]> =>
  parseAllDocuments(await text(path)).map((document) => document.toJS() as unknown);

describe('values for SIE', () => {
  it('take images, models and the way to both from the receipt', async () => {
    await run(whole, { endpoint: 'https://minio.zone' });

    expect(await yaml('sie/values-0.3.4.yaml')).toMatchObject({
      global: { imagePullSecrets: ['regcred'], image: { pullSecretNames: ['regcred'] } },
      config: { image: { repository: `${zone}/ghcr.io/superlinked/sie-config`, tag: 'v0.3.4' } },
      gateway: { image: { repository: `${zone}/ghcr.io/superlinked/sie-gateway`, tag: 'v0.3.4' } },
      workers: {
        common: {
          image: { repository: `${zone}/ghcr.io/superlinked/sie-server`, tag: 'v0.3.4' },
          platform: 'cuda12',
          clusterCache: { enabled: true, url: models },
          extraEnv: expect.arrayContaining([
            { name: 'HF_HUB_OFFLINE', value: '1' },
            { name: 'AWS_ENDPOINT_URL_S3', value: 'https://minio.zone' },
            {
              name: 'AWS_SECRET_ACCESS_KEY',
              valueFrom: { secretKeyRef: { name: 'model-bucket', key: 'AWS_SECRET_ACCESS_KEY' } },
            },
          ]) as unknown,
        },
      },
      nats: {
        container: { image: { repository: `${zone}/docker.io/library/nats`, tag: '2.12.6-alpine' } },
        reloader: { image: { tag: '0.21.1' } },
        natsBox: { container: { image: { tag: '0.19.3' } } },
      },
      telemetry: { enabled: false },
      payloadStore: { enabled: false },
    });
    expect(warnings).toEqual([]);
  });

  it('come with a post-renderer where the chart does not hand the cluster cache on', async () => {
    await run(whole, { consumers: ['sie'] });
    const old = await filesBelow(deployed('sie'));
    await run({ ...whole, images: mirrored(zone, sieReferences('0.10.1', true)) }, { consumers: ['sie'] });
    const fresh = (await filesBelow(deployed('sie'))).filter((path) => !old.includes(path));

    expect(old).toEqual(['kustomization.yaml', 'plugin.yaml', 'post-render.sh', 'values-0.3.4.yaml']);
    expect(fresh).toEqual(['values-0.10.1.yaml']);
    expect(await yaml('sie/values-0.10.1.yaml')).toMatchObject({
      gateway: { waitForConfig: { image: `${zone}/docker.io/library/busybox:1.37.0` } },
      workers: { common: { workerSidecar: { image: { tag: 'v0.10.1' } } } },
    });
  });

  it('switch off what would wait for an image that is not there', async () => {
    const few = sieReferences('0.10.1', true).filter((name) => !/pause|busybox|natsio/.test(name));

    await run({ ...whole, images: mirrored(zone, few) });

    expect(await yaml('sie/values-0.10.1.yaml')).toMatchObject({
      gateway: { waitForConfig: { enabled: false } },
      workers: { common: { imagePrepull: { enabled: false } } },
      nats: { reloader: { enabled: false }, natsBox: { enabled: false } },
    });
  });

  it('leave the pre-pull on when nodes find its image', async () => {
    await run(whole);

    expect(await yaml('sie/values-0.3.4.yaml')).not.toHaveProperty('workers.common.imagePrepull');
  });

  it('warn of images that the chart needs and the zone lacks', async () => {
    await run({ ...whole, images: mirrored(zone, ['ghcr.io/superlinked/sie-gateway:v0.3.4']) });

    expect(warnings.join()).toContain('sie-config');
    expect(warnings.join()).toContain('library/nats');
  });

  it('warn of an image that neither values nor hosts.toml can lead to', async () => {
    const moved = receivedImage('registry.k8s.io/pause:3.10', `${zone}/stop`);
    const images = (whole.images ?? []).filter(({ reference }) => reference !== moved.reference);

    await run({ ...whole, images: [...images, moved] });

    expect(warnings).toEqual([expect.stringContaining(`${zone}/stop:3.10`)]);
  });

  it.each([
    ['irsa', models, 'arn:aws:iam::1:role/r', { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/r' }],
    ['irsa', models, undefined, { 'eks.amazonaws.com/role-arn': 'REPLACE-ME-role-arn' }],
    ['workload-identity', 'gs://m/models', 'a@b.iam', { 'iam.gke.io/gcp-service-account': 'a@b.iam' }],
  ] as const)('let pods read by %s', async (credentials, target, identity, annotations) => {
    await run({ ...whole, targets: { models: target, images: zone } }, { credentials, identity });

    const written = await text('sie/values-0.3.4.yaml');
    expect(parse(written)).toMatchObject({
      serviceAccount: { annotations },
      workers: { common: { clusterCache: { url: target } } },
    });
    expect(written).not.toContain('secretKeyRef');
    expect(await filesBelow(deployed('secrets'))).toEqual(['pull-secret.yaml']);
  });
});

describe('hosts.toml', () => {
  it('leads a copy by the name that the world knows to where the zone has it', async () => {
    const registry = await startRegistry();
    try {
      const image = buildImage({ seed: 'nats', layers: 2 });
      registry.put('mirror/docker.io/library/nats', image, '2');
      const prefix = `${registry.host}/mirror`;
      const images = mirrored(prefix, ['docker.io/library/nats:2']);
      await run(
        { targets: { images: prefix }, images },
        { consumers: ['containerd'] },
        { insecureHosts: [registry.host] },
      );
      const hostsDir = deployed('containerd/certs.d');
      const { context } = await testContext({ cwd: place.path, hostsDir });

      const report = await copy({ source: 'nats:2', target: 'oci:layout', referrers: true }, context);
      await context.close();

      expect(report).toMatchObject({ ok: true, items: [{ digest: image.digest }] });
      expect(parseToml(await text('containerd/certs.d/docker.io/hosts.toml'))).toHaveProperty('server');
    } finally {
      await registry.close();
    }
  });
});

describe('examples', () => {
  const gguf = receivedModel('org/Tiny-GGUF', ['tiny.gguf']);
  const folder = `${models}/models--org--Tiny-GGUF/snapshots/${commit}`;

  it('name the objects of the receipt to LLMKube, with their sha256', async () => {
    await run({ targets: { models }, models: [gguf] }, { consumers: ['llmkube'] });

    expect(await documents('llmkube/example.yaml')).toMatchObject([
      {
        kind: 'Model',
        metadata: { name: 'org-tiny-gguf' },
        spec: {
          source: `${folder}/tiny.gguf`,
          sha256: gguf.objects[0]?.digest.slice(7),
          sourceSecretRef: { name: 'model-bucket' },
        },
      },
    ]);
  });

  it('name a model in parts to LLMKube by its folder, the first part first', async () => {
    const parts = ['a-00002-of-00002.gguf', 'a-00001-of-00002.gguf'];
    await run({ targets: { models }, models: [receivedModel('org/Tiny-GGUF', parts)] }, { consumers: ['llmkube'] });

    const written = await documents('llmkube/example.yaml');
    expect(written).toMatchObject([{ spec: { source: folder, files: parts.toReversed() } }]);
    expect(written.map((model) => llmkubeModel.safeParse(model).success)).toEqual([true]);
  });

  it('name a local file to LLMKube where models went to a directory', async () => {
    await run({ targets: { models: 'file:///mnt/models' }, models: [gguf] }, { consumers: ['llmkube'] });

    expect(await documents('llmkube/example.yaml')).toMatchObject([
      { spec: { source: `/mnt/models/models--org--Tiny-GGUF/snapshots/${commit}/tiny.gguf` } },
    ]);
  });

  it('name the folder with the files themselves to KServe and vLLM', async () => {
    await run(whole, { endpoint: 'https://minio.zone' });
    const snapshot = `${models}/models--BAAI--bge-m3/snapshots/${commit}`;

    expect(await documents('kserve/example.yaml')).toMatchObject([
      { kind: 'Secret', metadata: { annotations: { 'serving.kserve.io/s3-endpoint': 'minio.zone' } } },
      { kind: 'ServiceAccount' },
      { kind: 'InferenceService', spec: { predictor: { model: { storageUri: snapshot } } } },
    ]);
    expect(await text('vllm/example.yaml')).toContain(`- ${snapshot}\n`);
  });

  it('name a plain layout by its repo', async () => {
    const [object] = gguf.objects;
    const plain = {
      ...gguf,
      objects: [{ key: 'org/Tiny-GGUF/tiny.gguf', digest: object?.digest ?? 'sha256:', size: 1 }],
    };
    await run({ targets: { models }, models: [plain] }, { consumers: ['kserve'] });

    expect(await text('kserve/example.yaml')).toContain(`storageUri: ${models}/org/Tiny-GGUF\n`);
  });

  it('mount images that are no part of a cluster as volumes, by digest', async () => {
    const image = receivedImage('example.org/models/llama:1', `${zone}/models/llama`);
    await run({ ...whole, images: [...(whole.images ?? []), image] });

    expect(await documents('image-volume/example.yaml')).toMatchObject([
      { spec: { volumes: [{ image: { reference: `${zone}/models/llama@${image.digest}` } }] } },
    ]);
  });

  it('run NIM from the zone, with nothing of NGC', async () => {
    await run({ targets: { images: zone }, images: mirrored(zone, ['nvcr.io/nim/meta/llama:1.8.5']) });

    const written = await text('nim/example.yaml');
    expect(written).toContain(`image: ${zone}/nvcr.io/nim/meta/llama:1.8.5\n`);
    expect(written).not.toContain('name: NGC_API_KEY');
  });
});

describe('files', () => {
  it('are the same bytes for the same receipt, and then not written again', async () => {
    const first = await run(whole);
    const second = await run(whole);

    expect(first.items.every(({ state }) => state === 'done')).toBe(true);
    expect(second.items.every(({ state }) => state === 'present')).toBe(true);
    expect(second.items.map(({ digest }) => digest)).toEqual(first.items.map(({ digest }) => digest));
  });

  it('are listed in the report, with what is left to fill in', async () => {
    const report = await run(whole);
    const names = report.items.map(({ name }) => name);

    expect(names.toSorted()).toEqual(await filesBelow(deployed('')));
    expect(report.totals['placeholders']).toBeGreaterThan(0);
    expect(report.summary.join('\n')).toContain('REPLACE-ME');
  });

  it('do not replace one that was changed, and then none is written', async () => {
    await run(whole, { consumers: ['sie'] });
    const path = deployed('sie/values-0.3.4.yaml');
    await writeFile(path, (await readFile(path, 'utf8')).replace('platform: cuda12', 'platform: cpu'));

    expect(await codeOf(run({ ...whole, models: [] }))).toBe('E_REFUSED');
    expect(await filesBelow(deployed(''))).not.toContain('kserve/example.yaml');
    expect(await readFile(path, 'utf8')).toContain('platform: cpu');
  });

  it('replace one of somebody else by force only', async () => {
    await mkdir(dirname(deployed('sie/post-render.sh')), { recursive: true });
    await writeFile(deployed('sie/post-render.sh'), 'echo mine\n');

    expect(await codeOf(run(whole))).toBe('E_REFUSED');
    expect((await run(whole, { force: true })).ok).toBe(true);
    expect(await text('sie/post-render.sh')).toMatch(/^#!\/bin\/sh\n/);
  });

  it('are printed where no directory is given', async () => {
    const report = await run(whole, { out: undefined, consumers: ['sie'] });
    const [values] = report.items.map(({ detail }) => String(detail?.['text']));

    expect(parse(report.summary.slice(0, values?.split('\n').length).join('\n'))).toEqual(parse(values ?? ''));
    expect(await filesBelow(place.path)).toEqual(['site-a.receipt.json']);
  });

  it('hold placeholders that a cluster refuses instead of secrets, whatever stands in the environment', async () => {
    await run(whole, {}, { env: { AWS_ACCESS_KEY_ID: 'AKIACANARY', AWS_SECRET_ACCESS_KEY: 'canary-secret' } });
    const all = await Promise.all((await filesBelow(deployed(''))).map(text));
    const secret = (await yaml('secrets/model-bucket.yaml')) as { data: Record<string, string> };

    expect(all.join()).not.toMatch(/canary/i);
    expect(secret.data['AWS_SECRET_ACCESS_KEY']).not.toMatch(/^[A-Za-z0-9+/=]*$/);
  });
});

describe('it refuses', () => {
  it.each<[string, Partial<Receipt>, Partial<ValuesOptions>]>([
    ['the receipt of an import that did not end', { ...whole, complete: false }, {}],
    ['a consumer that there is not', whole, { consumers: ['sie', 'cri-o'] }],
    ['a consumer that the receipt has nothing for', whole, { consumers: ['nim'] }],
    ['a receipt that holds nothing', {}, {}],
    ['Workload Identity for S3', whole, { credentials: 'workload-identity' }],
    ['IRSA for Google storage', { ...whole, targets: { models: 'gs://m/models' } }, { credentials: 'irsa' }],
    ['an endpoint with a password', whole, { endpoint: 'https://a:b@minio.zone' }],
    ['an endpoint that is no address', whole, { endpoint: 'minio.zone' }],
    ['a release that there is not', whole, { sieVersion: 'newest' }],
  ])('%s', async (_, receipt, options) => {
    expect(await codeOf(run(receipt, options))).toBe('E_USAGE');
    expect(await filesBelow(place.path)).toEqual(['site-a.receipt.json']);
  });

  it('a file that is no receipt', async () => {
    await writeFile(join(place.path, 'lock.json'), '{"schema":"sie-mirror/lock/v1"}');

    expect(await codeOf(run(whole, { receipt: 'lock.json' }))).toBe('E_USAGE');
    expect(await codeOf(run(whole, { receipt: 'none.json' }))).toBe('E_NOT_FOUND');
  });

  it('a receipt whose words would break out of a comment', async () => {
    const hostile = { ...whole, targets: { models: 's3://models/x\nkind: Secret', images: zone } };

    expect(await codeOf(run(hostile))).toBe('E_CORRUPT');
  });
});
