import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { Receipt } from '../../src/bundle/receipt.ts';
import { runCli } from '../support/cli.ts';
import { filesBelow } from '../support/place.ts';
import { mirrored, receivedImage, receivedModel, sieReferences, writeReceipt } from '../support/receipts.ts';
import { runCommand, tryCommand } from './command.ts';
import { type ChartShape, writeSieChart } from './sie-chart.ts';
import { installTools, type Tools } from './tools.ts';

/** What `values` writes, read by Helm 3 and 4, kustomize and the schemas of Kubernetes. */

const zone = 'registry.zone:5000/mirror';
const models = 's3://models/2026-11/models';
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

describe.each(charts)('the chart $version by Helm $helm', (chart) => {
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

describe('the schemas of Kubernetes', () => {
  async function validate(path: string): Promise<string> {
    const program = join(dirname(tools.kubernetes.path), 'kubernetes-validate');
    const { code, stdout, stderr } = await tryCommand(tools.kubernetes.path, [program, '--strict', path]);
    return code === 0 ? 'valid' : `${stdout}${stderr}`;
  }

  it('find a mistake', async () => {
    const path = join(place, 'wrong.yaml');
    await writeFile(path, 'apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: { containers: [{ nme: a }] }\n');

    expect(await validate(path)).not.toBe('valid');
  });

  it('hold for every manifest of a kind that they know', async () => {
    const [shape] = shapes;
    const receipt = shape ? sieReceipt(shape) : {};
    const more = [
      receivedImage('example.org/models/llama:1', `${zone}/models/llama`),
      ...mirrored(zone, ['nvcr.io/nim/meta/llama:1.8.5', 'docker.io/vllm/vllm-openai:v0.11.0']),
    ];
    await runValues({ ...receipt, images: [...(receipt.images ?? []), ...more] }, '--endpoint', 'https://minio.zone');
    const known = ['image-volume/example.yaml', 'nim/example.yaml', 'vllm/example.yaml', 'secrets/model-bucket.yaml'];

    for (const path of [...known, 'secrets/pull-secret.yaml'])
      expect(await validate(deployed(path)), path).toBe('valid');
  });
});
