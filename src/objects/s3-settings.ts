import { MirrorError } from '../core/errors.ts';
import type { ConnectionOptions } from './s3-sdk.ts';

// An empty variable is one that is not set, as AWS's own clients have it.
type Env = Record<string, string | undefined>;

/** The address of the store, where it is not AWS: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html */
export function s3Endpoint(env: Env): string | undefined {
  return env['AWS_ENDPOINT_URL_S3'] || env['AWS_ENDPOINT_URL'] || undefined;
}

export function s3Region(env: Env): string | undefined {
  return env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || undefined;
}

/**
 * What the environment says of the way to the store, beside what the AWS chain reads by itself.
 * @throws E_USAGE for an endpoint that is no address, and for an unknown style
 */
export function s3Settings(env: Env): Pick<ConnectionOptions, 'pathStyle' | 'region'> {
  const address = s3Endpoint(env);
  if (address !== undefined)
    checkEndpoint(env['AWS_ENDPOINT_URL_S3'] ? 'AWS_ENDPOINT_URL_S3' : 'AWS_ENDPOINT_URL', address);
  // Stores of other makers want some region in a signature, and mostly this one.
  const usual = address !== undefined && !env['AWS_PROFILE'] ? 'us-east-1' : undefined;
  return { pathStyle: styleOf(env), region: s3Region(env) ?? usual };
}

/** Of an address nothing is repeated: there may be a password in it. */
function checkEndpoint(name: string, address: string): void {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || !/^https?:\/\//i.test(address))
    throw new MirrorError('E_USAGE', `${name} is no address that begins with https:// or http://`, {
      hint: 'write it with its scheme: https://HOST:PORT',
    });
  if (url.search !== '' || url.hash !== '')
    throw new MirrorError('E_USAGE', `${name} has a query or a fragment behind it`, { hint: 'leave it out' });
}

/** Undefined where it depends on whether the store is AWS. */
function styleOf(env: Env): boolean | undefined {
  const style = env['AWS_S3_ADDRESSING_STYLE'] || 'auto';
  if (style === 'auto') return undefined;
  if (style === 'path' || style === 'virtual') return style === 'path';
  throw new MirrorError(
    'E_USAGE',
    `AWS_S3_ADDRESSING_STYLE is \`${style}\`: \`path\`, \`virtual\` or \`auto\` was wanted`,
  );
}
