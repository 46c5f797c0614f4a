import { describe, expect, it } from 'vitest';
import type { Receipt } from '../../src/bundle/records/receipt.ts';
import type { ValuesOptions } from '../../src/commands/values.ts';
import { kserveDocument } from '../support/kserve.ts';
import { llmkubeModel } from '../support/llmkube.ts';
import { filesBelow } from '../support/place.ts';
import { commit, mirrored, receivedImage, receivedModel } from '../support/receipts.ts';
import { models, valuesRuns, whole, zone } from '../support/values-run.ts';

const runs = valuesRuns();

describe('examples', () => {
  const gguf = receivedModel('org/Tiny-GGUF', ['tiny.gguf']);
  const folder = `${models}/models--org--Tiny-GGUF/snapshots/${commit}`;

  it('name the objects of the receipt to LLMKube, with their sha256', async () => {
    await runs.run({ targets: { models }, models: [gguf] }, { consumers: ['llmkube'] });

    expect(await runs.documents('llmkube/example.yaml')).toMatchObject([
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
    await runs.run(
      { targets: { models }, models: [receivedModel('org/Tiny-GGUF', parts)] },
      { consumers: ['llmkube'] },
    );

    const written = await runs.documents('llmkube/example.yaml');
    expect(written).toMatchObject([{ spec: { source: folder, files: parts.toReversed() } }]);
    expect(written.map((model) => llmkubeModel.safeParse(model).success)).toEqual([true]);
  });

  it('name a local file to LLMKube where models went to a directory', async () => {
    await runs.run({ targets: { models: 'file:///mnt/models' }, models: [gguf] }, { consumers: ['llmkube'] });

    expect(await runs.documents('llmkube/example.yaml')).toMatchObject([
      { spec: { source: `/mnt/models/models--org--Tiny-GGUF/snapshots/${commit}/tiny.gguf` } },
    ]);
  });

  it('name the folder with the files themselves to KServe and vLLM', async () => {
    await runs.run(whole, { endpoint: 'https://minio.zone' });
    const snapshot = `${models}/models--BAAI--bge-m3/snapshots/${commit}`;

    expect(await runs.documents('kserve/example.yaml')).toMatchObject([
      { kind: 'Secret', metadata: { annotations: { 'serving.kserve.io/s3-endpoint': 'minio.zone' } } },
      { kind: 'ServiceAccount' },
      { kind: 'InferenceService', spec: { predictor: { model: { storageUri: snapshot } } } },
    ]);
    expect(await runs.text('vllm/example.yaml')).toContain(`- ${snapshot}\n`);
  });

  it.each([
    ['path', '0', 0],
    ['virtual', '1', 2],
  ])('tell who can be told where the bucket is named (%s), and warn of who cannot', async (style, flag, warnings) => {
    const receipt = { ...whole, models: [...(whole.models ?? []), gguf] };
    await runs.run(receipt, { endpoint: 'https://minio.zone' }, { env: { AWS_S3_ADDRESSING_STYLE: style } });

    expect((await runs.documents('kserve/example.yaml'))[0]).toMatchObject({
      metadata: { annotations: { 'serving.kserve.io/s3-usevirtualbucket': flag } },
    });
    expect(await runs.text('vllm/example.yaml')).toMatch(new RegExp(`VIRTUAL_ADDRESSING\\s+value: "${flag}"`));
    expect(runs.warnings.filter((text) => text.includes('names the bucket in the path'))).toHaveLength(warnings);
  });

  it('name a plain layout by its repo', async () => {
    const [object] = gguf.objects;
    const plain = {
      ...gguf,
      objects: [{ key: 'org/Tiny-GGUF/tiny.gguf', digest: object?.digest ?? 'sha256:', size: 1 }],
    };
    await runs.run({ targets: { models }, models: [plain] }, { consumers: ['kserve'] });

    expect(await runs.text('kserve/example.yaml')).toContain(`storageUri: ${models}/org/Tiny-GGUF\n`);
  });

  it('mount images that are no part of a cluster as volumes, by digest', async () => {
    const image = receivedImage('example.org/models/llama:1', `${zone}/models/llama`);
    await runs.run({ ...whole, images: [...(whole.images ?? []), image] });

    expect(await runs.documents('image-volume/example.yaml')).toMatchObject([
      { spec: { volumes: [{ image: { reference: `${zone}/models/llama@${image.digest}` } }] } },
    ]);
  });

  it('make a Model of LLMKube for each model of a repo, and none of what it cannot read', async () => {
    const files = [
      'm-q4.gguf',
      'm-q8-00001-of-00002.gguf',
      'm-q8-00002-of-00002.gguf',
      'mmproj-m.gguf',
      'my model.gguf',
    ];
    await runs.run(
      { targets: { models }, models: [receivedModel('org/Tiny-GGUF', files)] },
      { consumers: ['llmkube'] },
    );

    expect(await runs.documents('llmkube/example.yaml')).toMatchObject([
      { metadata: { name: 'org-tiny-gguf-m-q4' }, spec: { source: `${folder}/m-q4.gguf` } },
      { metadata: { name: 'org-tiny-gguf-m-q8' }, spec: { source: folder, files: files.slice(1, 3) } },
    ]);
  });

  it('hand LLMKube keys where others have a role: it knows nothing else', async () => {
    await runs.run({ targets: { models }, models: [gguf] }, { credentials: 'irsa', identity: 'arn:aws:iam::1:role/r' });

    expect(await filesBelow(runs.path('secrets'))).toEqual(['model-bucket.yaml']);
  });

  it.each<[string, string, Partial<ValuesOptions>, object]>([
    [
      'keys',
      models,
      { region: 'eu-central-1' },
      { kind: 'Secret', metadata: { annotations: { 'serving.kserve.io/s3-region': 'eu-central-1' } } },
    ],
    [
      'a role',
      models,
      { credentials: 'irsa', identity: 'arn:aws:iam::1:role/r', region: 'eu-central-1' },
      {
        kind: 'ServiceAccount',
        metadata: {
          annotations: {
            'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/r',
            'serving.kserve.io/s3-region': 'eu-central-1',
          },
        },
      },
    ],
    [
      'a Google service account',
      'gs://m/models',
      { identity: 'a@b.iam' },
      { kind: 'ServiceAccount', metadata: { annotations: { 'iam.gke.io/gcp-service-account': 'a@b.iam' } } },
    ],
  ])('tell KServe where the store is beside %s', async (_, target, options, first) => {
    await runs.run({ ...whole, targets: { models: target, images: zone } }, options);
    const written = await runs.documents('kserve/example.yaml');

    expect(written.map((document) => kserveDocument.parse(document))[0]).toMatchObject(first);
  });

  it('hand KServe a claim where models went to a directory', async () => {
    await runs.run({ ...whole, targets: { models: 'file:///mnt/models' } }, { consumers: ['kserve'] });
    const written = await runs.documents('kserve/example.yaml');

    expect(written.map((document) => kserveDocument.parse(document).kind)).toEqual([
      'ServiceAccount',
      'InferenceService',
    ]);
  });

  it('give one account the same rights in every file that has it', async () => {
    await runs.run({
      ...whole,
      images: [...(whole.images ?? []), ...mirrored(zone, ['nvcr.io/nim/meta/llama:1.8.5'])],
    });
    const all = await Promise.all(
      ['vllm', 'nim', 'kserve'].map(async (name) => runs.documents(`${name}/example.yaml`)),
    );
    const accounts = (all.flat() as { kind: string; metadata: { name: string } }[]).filter(
      ({ kind }) => kind === 'ServiceAccount',
    );

    expect(accounts.map(({ metadata }) => metadata.name)).toEqual([
      'model-reader',
      'model-reader',
      'kserve-model-reader',
    ]);
    expect(accounts[1]).toEqual(accounts[0]);
  });
});

describe('NIM', () => {
  const nims = (...names: string[]): Partial<Receipt> => ({
    targets: { images: zone },
    images: mirrored(
      zone,
      names.map((name) => `nvcr.io/nim/${name}`),
    ),
  });
  const env = async (): Promise<Record<string, unknown>> => {
    const written = (await runs.documents('nim/example.yaml')) as {
      spec?: { template: { spec: { containers: { env: { name: string; value?: string }[] }[] } } };
    }[];
    const containers = written.flatMap(({ spec }) => spec?.template.spec.containers ?? []);
    return Object.fromEntries(containers.flatMap((each) => each.env).map(({ name, value }) => [name, value]));
  };

  it('runs from the zone, with keys of its bucket and nothing of NGC', async () => {
    await runs.run(nims('meta/llama:1.8.5'), { endpoint: 'https://minio.zone' });

    expect(await runs.text('nim/example.yaml')).toContain(`image: ${zone}/nvcr.io/nim/meta/llama:1.8.5\n`);
    expect(Object.keys(await env())).toEqual([
      'NIM_REPOSITORY_OVERRIDE',
      'NIM_MODEL_PROFILE',
      'AWS_ENDPOINT_URL',
      'AWS_REGION',
      'AWS_EC2_METADATA_DISABLED',
      'AWS_ACCESS_KEY_ID',
      'AWS_SECRET_ACCESS_KEY',
    ]);
    expect(await filesBelow(runs.path('secrets'))).toEqual(['model-bucket.yaml', 'pull-secret.yaml']);
  });

  it('reads the plain files of a model from 2.0 on', async () => {
    const [object] = receivedModel('org/model', ['model.safetensors']).objects;
    const plain = {
      repo: 'org/model',
      commit,
      objects: [{ key: 'org/model/model.safetensors', digest: object?.digest ?? 'sha256:', size: 1 } as const],
    };
    await runs.run({ ...nims('nvidia/llm-nim:2.0.3'), targets: { models, images: zone }, models: [plain] });

    expect(await env()).toMatchObject({ NIM_MODEL_PATH: `${models}/org/model` });
  });

  it('gets its settings in DataRobot, with the registry that stands for nvcr.io', async () => {
    const receipt = nims('meta/llama:1.8.5', 'nvidia/embed:1.3.0');
    await runs.run(receipt, { endpoint: 'https://minio.zone', region: 'eu-central-1' });

    expect(await runs.yaml('datarobot/values.yaml')).toEqual({
      'REPLACE-ME-section-of-the-chart': {
        SERVE_NIM_MODEL_FROM_LOCAL_ASSETS: true,
        custom_model_nim_image_registry: `${zone}/nvcr.io`,
        custom_model_nim_image_url_allowlist: [`${zone}/nvcr.io/nim/meta/llama`, `${zone}/nvcr.io/nim/nvidia/embed`],
        custom_model_nim_repository_override: 's3://REPLACE-ME-bucket-of-the-profiles/',
        custom_model_nim_aws_endpoint_url: 'https://minio.zone',
        custom_model_nim_aws_region: 'eu-central-1',
      },
    });
  });

  it('is looked for by DataRobot in one registry, and the user is told when it lies in none or in several', async () => {
    const elsewhere = receivedImage('nvcr.io/nim/meta/llama:1.8.5', `${zone}/llama`);
    await runs.run({ ...nims(), images: [elsewhere] }, { consumers: ['datarobot'] });
    expect(await runs.text('datarobot/values.yaml')).toContain('registry: REPLACE-ME-');

    const two = [...mirrored(zone, ['nvcr.io/nim/a/a:1']), ...mirrored('other.zone', ['nvcr.io/nim/b/b:1'])];
    await runs.run({ ...nims(), images: two }, { consumers: ['datarobot'] });
    expect(await runs.text('datarobot/values.yaml')).toContain(
      '# The receipt has images of NIM in other.zone/nvcr.io as well.',
    );
  });
});
