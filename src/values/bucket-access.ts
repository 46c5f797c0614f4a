import { MirrorError } from '../core/errors.ts';
import type { CredentialKind } from './credential-kind.ts';
import { placeholder } from './generated-file.ts';
import type { YamlValue } from './yaml.ts';

/** How pods get at the bucket and the registry of the zone. */
export interface AccessSettings {
  credentials: CredentialKind;
  /** Of the store; undefined for AWS and Google themselves. */
  endpoint: string | undefined;
  region: string | undefined;
  /** The store names buckets in the host, and not in the path. */
  virtualHost: boolean;
  /** Role ARN, or Google service account. */
  identity: string | undefined;
  /** Name of the Secret to pull images with. */
  pullSecret: string;
}

/** Name of the Secret with the keys of the bucket. */
export const bucketSecret = 'model-bucket';

/** Entry of a container's `env`. */
export type EnvVar = { name: string; value: string } | { name: string; valueFrom: YamlValue };

/**
 * The kind that fits the target of the models, where the user named none.
 * @throws E_USAGE for one that cannot work there
 */
export function chooseCredentials(models: string | undefined, asked: CredentialKind | undefined): CredentialKind {
  const google = models?.startsWith('gs://') === true;
  const kind = asked ?? (google ? 'workload-identity' : 'secret');
  if (models !== undefined && google !== (kind === 'workload-identity'))
    throw new MirrorError('E_USAGE', `\`--credentials ${kind}\` does not open \`${models}\``, {
      hint: google
        ? 'use `--credentials workload-identity`, or import to the same bucket as `s3://` with HMAC keys'
        : 'use `--credentials irsa` or `--credentials secret`',
    });
  return kind;
}

/**
 * What a reader of the bucket needs in its environment; never a secret's value.
 * @param endpointName some readers know only `AWS_ENDPOINT_URL`
 */
export function bucketEnv(
  models: string,
  settings: AccessSettings,
  endpointName: 'AWS_ENDPOINT_URL' | 'AWS_ENDPOINT_URL_S3',
): EnvVar[] {
  if (!models.startsWith('s3://')) return [];
  const { credentials, endpoint } = settings;
  const env: EnvVar[] = endpoint === undefined ? [] : [{ name: endpointName, value: endpoint }];
  env.push({ name: 'AWS_REGION', value: regionOf(settings) });
  if (credentials !== 'secret') return env;
  // Without it every start waits for a metadata service that is not there.
  env.push({ name: 'AWS_EC2_METADATA_DISABLED', value: 'true' });
  return [...env, ...['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'].map(fromSecret)];
}

/** The region that a request is signed for; undefined where only the user knows it. */
export function knownRegion({ endpoint, region }: AccessSettings): string | undefined {
  // Stores of other makers want some region in a signature, and mostly this one.
  return region ?? (endpoint === undefined ? undefined : 'us-east-1');
}

export function regionOf(settings: AccessSettings): string {
  return knownRegion(settings) ?? `${placeholder}-aws-region`;
}

/** By which a service account stands for an identity of the cloud. */
export function identityAnnotations({ credentials, identity }: AccessSettings): Record<string, string> {
  if (credentials === 'irsa') return { 'eks.amazonaws.com/role-arn': identity ?? `${placeholder}-role-arn` };
  if (credentials === 'workload-identity')
    return { 'iam.gke.io/gcp-service-account': identity ?? `${placeholder}-google-service-account` };
  return {};
}

function fromSecret(key: string): EnvVar {
  return { name: key, valueFrom: { secretKeyRef: { name: bucketSecret, key } } };
}
