import { digestHex } from '../core/digest.ts';
import { bucketEnv, bucketSecret, type BucketSettings, identityAnnotations } from './bucket-access.ts';
import { type GeneratedFile, placeholder } from './generated-file.ts';
import { isSieImage } from './sie-images.ts';
import { formatYamlDocuments, type YamlValue } from './yaml.ts';
import { repositoryOf, sourceName, targetName, type Zone, type ZoneImage, type ZoneModel } from './zone.ts';

export interface ConsumerSettings extends BucketSettings {
  pullSecret: string;
}

/** Example manifests for one consumer; undefined when the zone holds nothing that it reads. */
type Consumer = (zone: Zone, settings: ConsumerSettings) => GeneratedFile | undefined;

export const consumers: Readonly<Record<'llmkube' | 'kserve' | 'vllm' | 'image-volume' | 'nim', Consumer>> = {
  llmkube,
  kserve,
  vllm,
  'image-volume': imageVolume,
  nim,
};

/** `inference.llmkube.dev` Models of the GGUF files: https://github.com/defilantech/LLMKube */
function llmkube({ models, modelList }: Zone): GeneratedFile | undefined {
  if (models === undefined || !/^(?:s3|file):/.test(models)) return undefined;
  const place = models.replace(/^file:\/\//, '');
  const documents = modelList.flatMap((model): YamlValue[] => {
    const files = model.files.filter(({ path }) => path.endsWith('.gguf'));
    const [first] = files;
    if (!first) return [];
    const folder = `${place}/${model.folder}`;
    const source =
      files.length === 1
        ? { source: `${folder}/${first.path}`, sha256: digestHex(first.digest) }
        : { source: folder, files: files.map(({ path }) => path) };
    return [
      {
        apiVersion: 'inference.llmkube.dev/v1alpha1',
        kind: 'Model',
        metadata: { name: objectName(model) },
        spec: {
          ...source,
          format: 'gguf',
          ...(models.startsWith('s3:') ? { sourceSecretRef: { name: bucketSecret } } : {}),
        },
      },
    ];
  });
  return file('llmkube', documents, [
    models.startsWith('s3:')
      ? `The Secret ${bucketSecret} is that of secrets/model-bucket.yaml: LLMKube reads keys, region and endpoint from it.`
      : `Switch on local sources: Helm value modelSource.allowedHostPathRoots has to name ${place} or a directory above it.`,
  ]);
}

/** InferenceServices with `storageUri`: https://kserve.github.io/website/docs/model-serving/storage/overview */
function kserve({ models, modelList }: Zone, settings: ConsumerSettings): GeneratedFile | undefined {
  if (models === undefined) return undefined;
  const services = modelList.map((model): YamlValue => ({
    apiVersion: 'serving.kserve.io/v1beta1',
    kind: 'InferenceService',
    metadata: { name: objectName(model) },
    spec: {
      predictor: {
        serviceAccountName: readerName,
        model: {
          modelFormat: { name: 'huggingface' },
          args: [`--model_name=${objectName(model)}`],
          storageUri: `${models.startsWith('file:') ? `pvc://${placeholder}-claim` : models}/${model.folder}`,
        },
      },
    },
  }));
  if (services.length === 0) return undefined;
  const secret = models.startsWith('s3:') && settings.credentials === 'secret' ? kserveSecret(settings) : [];
  const reader = serviceAccount(models, settings, secret.length > 0 ? kserveSecretName : undefined);
  return file(
    'kserve',
    [...secret, reader, ...services],
    ['The image of the serving runtime has to be in the zone as well; this is only where it finds the model.'],
  );
}

/** Of the service account that may read the models. */
const readerName = 'model-reader';

function serviceAccount(models: string, settings: ConsumerSettings, secret?: string): YamlValue {
  const annotations = models.startsWith('file:') ? {} : identityAnnotations(settings);
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: readerName, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) },
    ...(secret === undefined ? {} : { secrets: [{ name: secret }] }),
    imagePullSecrets: [{ name: settings.pullSecret }],
  };
}

const kserveSecretName = 'kserve-model-bucket';

function kserveSecret({ endpoint, region }: ConsumerSettings): YamlValue[] {
  const store = endpoint === undefined ? undefined : new URL(endpoint);
  const annotations = {
    ...(store
      ? {
          'serving.kserve.io/s3-endpoint': `${store.host}${store.pathname.replace(/\/+$/, '')}`,
          'serving.kserve.io/s3-usehttps': store.protocol === 'https:' ? '1' : '0',
          'serving.kserve.io/s3-usevirtualbucket': '0',
        }
      : {}),
    ...(region === undefined ? {} : { 'serving.kserve.io/s3-region': region }),
  };
  const missing = `<${placeholder}: base64>`;
  return [
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: kserveSecretName, annotations },
      type: 'Opaque',
      data: { AWS_ACCESS_KEY_ID: missing, AWS_SECRET_ACCESS_KEY: missing },
    },
  ];
}

const vllmImage = 'docker.io/vllm/vllm-openai';

/** vLLM streams safetensors out of the bucket: https://docs.vllm.ai/en/stable/models/extensions/runai_model_streamer.html */
function vllm(zone: Zone, settings: ConsumerSettings): GeneratedFile | undefined {
  const { models, modelList, images } = zone;
  if (models === undefined || !/^(?:s3|gs):/.test(models)) return undefined;
  const image = images.find((each) => sourceName(each) === vllmImage);
  const documents = modelList
    .filter(({ files }) => files.some(({ path }) => path.endsWith('.safetensors')))
    .map((model) =>
      deployment(
        objectName(model),
        { serviceAccountName: readerName },
        {
          name: 'vllm',
          image: image ? targetName(image) : `${placeholder}-image-of-vllm-in-the-zone`,
          args: [
            '--model',
            `${models}/${model.folder}`,
            '--served-model-name',
            model.repo,
            '--load-format',
            'runai_streamer',
          ],
          env: [
            ...bucketEnv(models, settings, 'AWS_ENDPOINT_URL'),
            ...(settings.endpoint === undefined
              ? []
              : [{ name: 'RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING', value: '0' }]),
            { name: 'HF_HUB_OFFLINE', value: '1' },
          ],
          ports: [{ name: 'http', containerPort: 8000 }],
          resources: { limits: { 'nvidia.com/gpu': '1' } },
        },
      ),
    );
  if (documents.length === 0) return undefined;
  return file('vllm', [serviceAccount(models, settings), ...documents], []);
}

/** Images with files below /models, mounted as they are: https://kubernetes.io/docs/tasks/configure-pod-container/image-volumes/ */
function imageVolume({ images }: Zone, { pullSecret }: ConsumerSettings): GeneratedFile | undefined {
  const documents = images
    .filter((image) => !isInfrastructure(image))
    .map((image): YamlValue => {
      const name = kubernetesName(image.target.repository);
      return {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: {
          imagePullSecrets: [{ name: pullSecret }],
          containers: [
            {
              name: 'reader',
              image: `${placeholder}-image-of-the-reader-in-the-zone`,
              volumeMounts: [{ name: 'model', mountPath: '/models', subPath: 'models', readOnly: true }],
            },
          ],
          volumes: [
            {
              name: 'model',
              image: { reference: `${repositoryOf(image.target)}@${image.digest}`, pullPolicy: 'IfNotPresent' },
            },
          ],
        },
      };
    });
  return file('image-volume', documents, [
    'Kubernetes 1.35, or from 1.33 with the feature gate ImageVolume, and containerd 2.1 or CRI-O 1.31. KServe reads the',
    'same images as storageUri: oci+native://REFERENCE, with enableOciModelSupport.',
  ]);
}

/** NVIDIA NIM with profiles out of a bucket. */
function nim({ images }: Zone, settings: ConsumerSettings): GeneratedFile | undefined {
  const documents = images.filter(isNim).map((image) =>
    deployment(
      kubernetesName(image.source.repository.replace(/^nim\//, '')),
      { imagePullSecrets: [{ name: settings.pullSecret }] },
      {
        name: 'nim',
        image: targetName(image),
        env: [
          { name: 'NIM_REPOSITORY_OVERRIDE', value: `s3://${placeholder}-bucket-of-the-profiles/` },
          { name: 'NIM_MODEL_PROFILE', value: `${placeholder}-profile-id` },
          ...bucketEnv('s3://', settings, 'AWS_ENDPOINT_URL'),
        ],
        ports: [{ name: 'http', containerPort: 8000 }],
        resources: { limits: { 'nvidia.com/gpu': '1' } },
      },
    ),
  );
  return file('nim', documents, [
    'The bucket is addressed as BUCKET.HOST, and holds profiles under their encoded names. No NGC_API_KEY: nothing is asked of NGC.',
  ]);
}

function isNim(image: ZoneImage): boolean {
  return sourceName(image).startsWith('nvcr.io/nim/');
}

function isInfrastructure(image: ZoneImage): boolean {
  return isSieImage(image) || isNim(image) || sourceName(image) === vllmImage;
}

function deployment(name: string, account: Readonly<Record<string, YamlValue>>, container: YamlValue): YamlValue {
  const labels = { 'app.kubernetes.io/name': name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { ...account, containers: [container] },
      },
    },
  };
}

function file(consumer: string, documents: YamlValue[], notes: string[]): GeneratedFile | undefined {
  if (documents.length === 0) return undefined;
  const body = [...notes.map((note) => `# ${note}`), formatYamlDocuments(documents)].join('\n');
  return { path: `${consumer}/example.yaml`, consumer, body };
}

function objectName({ repo }: ZoneModel): string {
  return kubernetesName(repo);
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names */
function kubernetesName(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(-50)
    .replace(/^[-0-9]+|-+$/g, '');
  return name === '' ? 'model' : name;
}
