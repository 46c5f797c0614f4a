import { type AccessSettings, bucketSecret, knownRegion } from './bucket-access.ts';
import { type GeneratedFile, placeholder } from './generated-file.ts';
import { formatYaml } from './yaml.ts';

/** `data` must be base64, which this is not: a cluster refuses the file until it is filled in. */
function missing(what: string): string {
  return `<${placeholder}: base64 of ${what}>`;
}

/** For nodes to pull from the registry of the zone. https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets */
export function pullSecret(name: string, registries: readonly string[]): GeneratedFile {
  const [registry = ''] = registries;
  return {
    path: 'secrets/pull-secret.yaml',
    consumer: 'secrets',
    body: [
      '# An example to be filled in. This makes the same, and keeps the password out of files:',
      `#   kubectl create secret docker-registry ${name} --docker-server=${registry} --docker-username=... --docker-password=...`,
      ...(registries.length > 1
        ? [`# The receipt has images in ${registries.join(' and ')}: the file has all of them.`]
        : []),
      formatYaml({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name },
        type: 'kubernetes.io/dockerconfigjson',
        data: { '.dockerconfigjson': missing(`a docker config.json with auths for ${registries.join(' and ')}`) },
      }),
    ].join('\n'),
  };
}

/** Whether a file cannot be used without the Secret of the bucket. */
export function namesBucketSecret(body: string): boolean {
  return body.split(/[\s"]/).includes(bucketSecret);
}

/**
 * For pods to read the models.
 * @param models where they lie, when that is a bucket of S3
 */
export function bucketKeys(models: string | undefined, settings: AccessSettings): GeneratedFile {
  const region = knownRegion(settings);
  const endpoint = settings.endpoint ?? (region === undefined ? undefined : `https://s3.${region}.amazonaws.com`);
  const place = {
    ...(region === undefined ? {} : { AWS_REGION: region }),
    ...(endpoint === undefined ? {} : { AWS_ENDPOINT_URL: endpoint.replace(/\/+$/, '') }),
  };
  const known = Object.entries(place).map(([key, value]) => [key, Buffer.from(value).toString('base64')] as const);
  return {
    path: 'secrets/model-bucket.yaml',
    consumer: 'secrets',
    body: [
      `# An example to be filled in: keys that may list and get ${models?.startsWith('s3:') === true ? models : 'what is in the bucket'}, and need nothing else.`,
      '# Region and endpoint are there for LLMKube. This makes the same, and keeps the keys out of files:',
      `#   kubectl create secret generic ${bucketSecret} --from-literal=AWS_ACCESS_KEY_ID=... --from-literal=AWS_SECRET_ACCESS_KEY=... ${Object.entries(
        place,
      )
        .map(([key, value]) => `--from-literal=${key}=${value}`)
        .join(' ')}`,
      formatYaml({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: bucketSecret },
        type: 'Opaque',
        data: {
          AWS_ACCESS_KEY_ID: missing('the access key id'),
          AWS_SECRET_ACCESS_KEY: missing('the secret access key'),
          ...Object.fromEntries(known),
        },
      }),
    ].join('\n'),
  };
}
