import type { AccessSettings } from './bucket-access.ts';
import { exampleFile, objectName, serviceAccount } from './example.ts';
import { type GeneratedFile, placeholder } from './generated-file.ts';
import type { YamlValue } from './yaml.ts';
import type { Zone, ZoneModel } from './zone.ts';

const accountName = 'kserve-model-reader';
const secretName = 'kserve-model-bucket';

/**
 * InferenceServices with `storageUri`. KServe reads where the store is from annotations: of the Secret with the keys, or of the
 * service account where a role takes their place.
 * https://kserve.github.io/website/docs/model-serving/storage/providers/s3
 */
export function kserve({ models, modelList }: Zone, settings: AccessSettings): GeneratedFile | undefined {
  if (models === undefined || !/^(?:s3|gs|file|oci):/.test(models)) return undefined;
  // It reads images, and passes over layers of artifacts.
  const readable = modelList.filter(({ image }) => image?.form !== 'modelpack');
  const services = readable.map((model): YamlValue => ({
    apiVersion: 'serving.kserve.io/v1beta1',
    kind: 'InferenceService',
    metadata: { name: objectName(model) },
    spec: {
      predictor: {
        serviceAccountName: accountName,
        model: {
          modelFormat: { name: 'huggingface' },
          args: [`--model_name=${objectName(model)}`],
          storageUri: storageUri(models, model),
        },
      },
    },
  }));
  if (services.length === 0) return undefined;
  return exampleFile(
    'kserve',
    [...access(models, settings), ...services],
    ['The image of the serving runtime has to be in the zone as well; this is only where it finds the model.'],
  );
}

function storageUri(models: string, { folder, image }: ZoneModel): string {
  if (image) return `oci+native://${image.reference}`;
  return `${models.startsWith('file:') ? `pvc://${placeholder}-claim` : models}/${folder}`;
}

/** The account of the services, and the Secret that it names where one is needed. */
function access(models: string, settings: AccessSettings): YamlValue[] {
  if (models.startsWith('file:')) return [serviceAccount(accountName, { ...settings, credentials: 'secret' })];
  if (!models.startsWith('s3:')) return [serviceAccount(accountName, settings)];
  const annotations = storeAnnotations(settings);
  if (settings.credentials !== 'secret') return [serviceAccount(accountName, settings, { annotations })];
  const missing = `<${placeholder}: base64>`;
  const secret: YamlValue = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: secretName, annotations },
    type: 'Opaque',
    data: { AWS_ACCESS_KEY_ID: missing, AWS_SECRET_ACCESS_KEY: missing },
  };
  return [secret, serviceAccount(accountName, settings, { secret: secretName })];
}

function storeAnnotations({ endpoint, region, virtualHost }: AccessSettings): Record<string, string> {
  const store = endpoint === undefined ? undefined : new URL(endpoint);
  return {
    ...(store
      ? {
          'serving.kserve.io/s3-endpoint': `${store.host}${store.pathname.replace(/\/+$/, '')}`,
          'serving.kserve.io/s3-usehttps': store.protocol === 'https:' ? '1' : '0',
          'serving.kserve.io/s3-usevirtualbucket': virtualHost ? '1' : '0',
        }
      : {}),
    ...(region === undefined ? {} : { 'serving.kserve.io/s3-region': region }),
  };
}
