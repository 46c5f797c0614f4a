import { readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import type { Receipt } from '../../src/bundle/records/receipt.ts';
import { projectRoot, runCli } from '../support/cli.ts';
import { buildImage } from '../support/images.ts';
import { filesBelow } from '../support/place.ts';
import { mirrored, receivedImage, receivedModel, sieReferences, writeReceipt } from '../support/receipts.ts';
import { startRegistry } from '../support/registry.ts';
import { models, zone } from '../support/values-run.ts';
import { runCommand, tryCommand } from './command.ts';
import { runsHelm } from './kubernetes-programs.ts';
import { startContainerd } from './servers.ts';
import { type ChartShape, writeSieChart } from './sie-chart.ts';
import { installTools, type Tools } from './tools.ts';

/** What `values` writes, read by Helm 3 and 4, kustomize, the schemas of Kubernetes and containerd. */

const ours = join(projectRoot, 'manifests/kubernetes');
const shapes: ChartShape[] = [
  { version: '0.3.4', clusterCacheArgument: false, sidecar: false, lanes: false },
  { version: '0.6.30', clusterCacheArgument: false, sidecar: true, lanes: false },
  { version: '0.10.1', clusterCacheArgument: true, sidecar: true, lanes: true },
];
const versions = [3, 4] as const;
const charts = shapes.flatMap((shape) => versions.map((helm) => ({ ...shape, helm })));

type Chart = (typeof charts)[number];

interface Container {
  name: string;
  image: string;
  args?: string[];
  env?: { name: string; value?: string }[];
}

interface Pod {
  containers: Container[];
  initContainers?: Container[];
  imagePullSecrets?: unknown;
}

interface Rendered {
  kind: string;
  metadata: { name: string; annotations?: Record<string, string> };
  spec?: { template?: { spec: Pod } };
}

let tools: Tools;
let directory: string;
let place: string;

beforeAll(async () => {
  tools = await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-values-'));
  for (const shape of shapes) await writeSieChart(join(directory, shape.version), shape);
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

beforeEach(async () => {
  place = await mkdtemp(join(directory, 'place-'));
});

const deployed = (path: string): string => join(place, 'deploy', path);

async function runValues(receipt: Partial<Receipt>, ...flags: string[]): Promise<void> {
  const path = await writeReceipt(place, receipt);
  const result = await runCli(['values', path, '--out', 'deploy', ...flags], { cwd: place });
  expect(result).toMatchObject({ code: 0 });
}

/** What the chart runs when a pool is on. */
function imagesOfChart({ version, sidecar, lanes }: ChartShape): string[] {
  return sieReferences(version, sidecar).filter((name) => lanes || !name.includes('busybox'));
}

function sieReceipt(shape: ChartShape): Partial<Receipt> {
  return {
    targets: { models, images: zone },
    models: [receivedModel('BAAI/bge-m3', ['config.json', 'model.safetensors', 'bge-m3-q4.gguf'])],
    images: mirrored(zone, imagesOfChart(shape)),
  };
}

/** `helm template` with a pool switched on, and by way of the post-renderer where there is one. */
async function template({ version, helm }: Chart): Promise<Rendered[]> {
  const program = tools.helms.find((each) => each.version.startsWith(`${helm}.`))?.path ?? '';
  const env = { PATH: `${dirname(program)}:${process.env['PATH'] ?? ''}`, HOME: place, HELM_DATA_HOME: place };
  const run = (...args: string[]): Promise<string> => runCommand(program, args, { env });
  const postRenders = (await filesBelow(deployed('sie'))).includes('post-render.sh');
  if (postRenders && helm === 4) await run('plugin', 'install', deployed('sie'));
  const text = await run(
    'template',
    'sie',
    join(directory, version),
    '--values',
    deployed(`sie/values-${version}.yaml`),
    '--set',
    'workers.pools.l4.enabled=true',
    ...(postRenders ? ['--post-renderer', helm === 3 ? deployed('sie/post-render.sh') : 'sie-cluster-cache'] : []),
  );
  return parseAllDocuments(text).flatMap((document) => (document.toJS() as Rendered | null) ?? []);
}

const podsOf = (rendered: Rendered[]): Pod[] => rendered.flatMap(({ spec }) => spec?.template?.spec ?? []);
const imagesOf = (rendered: Rendered[]): string[] =>
  podsOf(rendered)
    .flatMap(({ containers, initContainers = [] }) => [...containers, ...initContainers])
    .map(({ image }) => image);

describe.skipIf(!runsHelm).each(charts)('the chart $version by Helm $helm', (chart) => {
  it('names every image as the zone has it, but for the one that only nodes can lead there', async () => {
    await runValues(sieReceipt(chart));
    const images = new Set(imagesOf(await template(chart)));

    const expected = imagesOfChart(chart)
      .filter((name) => !name.includes('pause'))
      .map((name) => `${zone}/${name}`);
    expect([...images].sort()).toEqual([...expected, 'registry.k8s.io/pause:3.10'].sort());
  });

  it('runs nothing whose image is not there', async () => {
    const few = imagesOfChart(chart).filter((name) => !/pause|busybox|natsio/.test(name));
    await runValues({ ...sieReceipt(chart), images: mirrored(zone, few) });

    expect(imagesOf(await template(chart)).filter((image) => !image.startsWith(zone))).toEqual([]);
  });

  it('pulls all of them with the secret', async () => {
    await runValues(sieReceipt(chart), '--pull-secret', 'zone-login');

    for (const pod of podsOf(await template(chart))) expect(pod.imagePullSecrets).toEqual([{ name: 'zone-login' }]);
  });

  it('hands the bucket to the workers, which ask nobody else', async () => {
    await runValues(sieReceipt(chart), '--endpoint', 'https://minio.zone');
    const workers = (await template(chart)).filter(({ kind }) => kind === 'StatefulSet');

    expect(workers).toHaveLength(1);
    const worker = podsOf(workers)[0]?.containers.find(({ name }) => name === 'worker');
    expect(worker?.args?.filter((argument) => argument === '--cluster-cache=$(SIE_CLUSTER_CACHE)')).toHaveLength(1);
    expect(worker?.env).toEqual(
      expect.arrayContaining([
        { name: 'SIE_CLUSTER_CACHE', value: models },
        { name: 'HF_HUB_OFFLINE', value: '1' },
        { name: 'AWS_ENDPOINT_URL_S3', value: 'https://minio.zone' },
        { name: 'SIE_TELEMETRY_DISABLED', value: '1' },
      ]),
    );
    expect(worker?.env?.some(({ name }) => name === 'HF_TOKEN')).toBe(false);
  });

  it.each([
    ['irsa', models, 'eks.amazonaws.com/role-arn', 'arn:aws:iam::123456789012:role/models'],
    ['workload-identity', 'gs://models/m', 'iam.gke.io/gcp-service-account', 'models@zone.iam.gserviceaccount.com'],
  ])('binds its service account by %s', async (kind, target, annotation, identity) => {
    const receipt = { ...sieReceipt(chart), targets: { models: target, images: zone } };
    await runValues(receipt, '--credentials', kind, '--identity', identity, '--for', 'sie');
    const account = (await template(chart)).find((each) => each.kind === 'ServiceAccount');

    expect(account?.metadata.annotations).toEqual({ [annotation]: identity });
  });
});

async function validate(path: string): Promise<string> {
  const program = join(dirname(tools.kubernetes.path), 'kubernetes-validate');
  const { code, stdout, stderr } = await tryCommand(tools.kubernetes.path, [program, '--strict', path]);
  return code === 0 ? 'valid' : `${stdout}${stderr}`;
}

describe('the schemas of Kubernetes', () => {
  it('find a mistake', async () => {
    const path = join(place, 'wrong.yaml');
    await writeFile(path, 'apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: { containers: [{ nme: a }] }\n');

    expect(await validate(path)).not.toBe('valid');
  });

  it.each(readdirSync(ours))('hold for %s, which comes with the tool', async (name) => {
    expect(await validate(join(ours, name))).toBe('valid');
  });

  it('hold for every manifest of a kind that they know', async () => {
    await runValues(manyConsumers(), '--endpoint', 'https://minio.zone');
    const known = ['image-volume/example.yaml', 'nim/example.yaml', 'vllm/example.yaml', 'secrets/model-bucket.yaml'];

    for (const path of [...known, 'secrets/pull-secret.yaml'])
      expect(await validate(deployed(path)), path).toBe('valid');
  });
});

/** A receipt that has something for everybody. */
function manyConsumers(): Partial<Receipt> {
  const images = [
    'nvcr.io/nim/meta/llama:1.8.5',
    'nvcr.io/nim/nvidia/llm-nim:2.0.3',
    'docker.io/vllm/vllm-openai:v0.11.0',
  ];
  return {
    targets: { models, images: zone },
    models: [receivedModel('BAAI/bge-m3', ['config.json', 'model.safetensors', 'bge-m3-q4.gguf'])],
    images: [receivedImage('example.org/models/llama:1', `${zone}/models/llama`), ...mirrored(zone, images)],
  };
}

it.skipIf(!runsHelm)('is read by kustomize, whoever it is for', async () => {
  await runValues(manyConsumers());
  const examples = (await filesBelow(deployed(''))).filter((path) => /^[a-z-]+\/example\.yaml$|^secrets\//.test(path));
  const kubectl = join(dirname(tools.helms[0]?.path ?? ''), 'kubectl');

  expect(examples).toHaveLength(7);
  for (const path of examples) {
    const documents = parseAllDocuments(await readFile(deployed(path), 'utf8')).map((each) => each.toJS() as Rendered);
    await writeFile(join(place, 'kustomization.yaml'), `resources: [deploy/${path}]\n`);
    const built = await runCommand(kubectl, ['kustomize', place]);
    const names = parseAllDocuments(built).map((each) => (each.toJS() as Rendered).metadata.name);
    expect(names.sort(), path).toEqual(documents.map(({ metadata }) => metadata.name).sort());
  }
});

it.skipIf(!runsHelm).each(versions)('gives Helm %i the settings of NIM in DataRobot', async (helm) => {
  await runValues(manyConsumers(), '--for', 'datarobot', '--endpoint', 'https://minio.zone');
  const written = deployed('datarobot/values.yaml');
  // The user puts the settings where the chart of the release has them.
  await writeFile(written, (await readFile(written, 'utf8')).replace('REPLACE-ME-section-of-the-chart', 'settings'));
  const chart = join(place, 'chart');
  await mkdir(join(chart, 'templates'), { recursive: true });
  await writeFile(join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: datarobot\nversion: 11.0.0\n');
  await writeFile(
    join(chart, 'templates/config.yaml'),
    'kind: ConfigMap\ndata:\n{{- range $name, $value := .Values.settings }}\n  {{ $name }}: {{ toString $value | quote }}\n{{- end }}\n',
  );
  const program = tools.helms.find(({ version }) => version.startsWith(`${helm}.`))?.path ?? '';
  const text = await runCommand(program, ['template', 'dr', chart, '--values', written], { env: { HOME: place } });

  expect(parse(text)).toMatchObject({
    data: {
      SERVE_NIM_MODEL_FROM_LOCAL_ASSETS: 'true',
      custom_model_nim_image_registry: `${zone}/nvcr.io`,
      custom_model_nim_aws_endpoint_url: 'https://minio.zone',
    },
  });
});

describe('containerd', () => {
  it('fetches an image of the zone by the name that the world knows', async () => {
    const registry = await startRegistry();
    const containerd = await startContainerd(place);
    try {
      const image = buildImage({ seed: 'pause', layers: 2 });
      registry.put('mirror/registry.k8s.io/pause', image, '3.10');
      const prefix = `${registry.host}/mirror`;
      const receipt = { targets: { images: prefix }, images: mirrored(prefix, ['registry.k8s.io/pause:3.10']) };
      await runValues(receipt, '--for', 'containerd', '--insecure-host', registry.host);
      const ctr = (...args: string[]): Promise<string> =>
        runCommand(tools.ctr, ['--address', join(place, 'containerd.sock'), ...args]);

      await ctr('content', 'fetch', '--hosts-dir', deployed('containerd/certs.d'), 'registry.k8s.io/pause:3.10');

      expect(await ctr('images', 'list')).toMatch(new RegExp(`registry\\.k8s\\.io/pause:3\\.10 .*${image.digest}`));
    } finally {
      await containerd.stop();
      await registry.close();
    }
  });
});
