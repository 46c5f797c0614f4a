import { type AccessSettings, bucketEnv } from './bucket-access.ts';
import {
  type Consumer,
  exampleFile,
  kubernetesName,
  objectName,
  readerName,
  server,
  serviceAccount,
} from './example.ts';
import { type GeneratedFile, placeholder } from './generated-file.ts';
import { kserve } from './kserve.ts';
import { llmkube } from './llmkube.ts';
import { datarobot, isNim, nim } from './nim.ts';
import { isSieImage } from './sie-images.ts';
import type { YamlValue } from './yaml.ts';
import { repositoryOf, sourceName, targetName, type Zone, type ZoneImage } from './zone.ts';

/** All but SIE and containerd, by the name that `--for` takes. */
export const consumers: Readonly<Record<string, Consumer>> = {
  llmkube,
  kserve,
  vllm,
  'image-volume': imageVolume,
  nim,
  datarobot,
};

const vllmImage = 'docker.io/vllm/vllm-openai';

/** vLLM streams safetensors out of the bucket: https://docs.vllm.ai/en/stable/models/extensions/runai_model_streamer.html */
function vllm(zone: Zone, settings: AccessSettings): GeneratedFile | undefined {
  const { models, modelList, images } = zone;
  if (models === undefined || !/^(?:s3|gs):/.test(models)) return undefined;
  const image = images.find((each) => sourceName(each) === vllmImage);
  const documents = modelList
    .filter(({ files }) => files.some(({ path }) => path.endsWith('.safetensors')))
    .map((model) =>
      server(objectName(model), {
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
            : [{ name: 'RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING', value: settings.virtualHost ? '1' : '0' }]),
          { name: 'HF_HUB_OFFLINE', value: '1' },
        ],
      }),
    );
  if (documents.length === 0) return undefined;
  return exampleFile('vllm', [serviceAccount(readerName, settings), ...documents], []);
}

/** Images with files below /models, mounted as they are: https://kubernetes.io/docs/tasks/configure-pod-container/image-volumes/ */
function imageVolume({ images, modelList }: Zone, { pullSecret }: AccessSettings): GeneratedFile | undefined {
  const models = modelList.flatMap((model) => (model.image ? [{ name: objectName(model), ...model.image }] : []));
  const others = images
    .filter((image) => !isInfrastructure(image))
    .map(({ target, digest }) => ({
      name: kubernetesName(target.repository),
      reference: `${repositoryOf(target)}@${digest}`,
      form: 'image' as const,
    }));
  const documents = [...models, ...others].map(({ name, reference, form }): YamlValue => {
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
            volumeMounts: [mountOf(form)],
          },
        ],
        volumes: [
          {
            name: 'model',
            image: { reference, pullPolicy: 'IfNotPresent' },
          },
        ],
      },
    };
  });
  return exampleFile('image-volume', documents, [
    'Kubernetes 1.35, or from 1.33 with the feature gate ImageVolume, and containerd 2.1 or CRI-O 1.31. KServe reads the',
    'same images as storageUri: oci+native://REFERENCE, with enableOciModelSupport. Artifacts of the ModelPack form are',
    'mounted by CRI-O only.',
  ]);
}

/** An artifact has its files at its top. */
function mountOf(form: 'image' | 'modelpack'): YamlValue {
  const mount = { name: 'model', mountPath: '/models', readOnly: true };
  return form === 'image' ? { ...mount, subPath: 'models' } : mount;
}

function isInfrastructure(image: ZoneImage): boolean {
  return isSieImage(image) || isNim(image) || sourceName(image) === vllmImage;
}
