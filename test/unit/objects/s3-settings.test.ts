import { expect, it } from 'vitest';
import { MirrorError } from '../../../src/core/errors.ts';
import { s3Settings } from '../../../src/objects/s3-settings.ts';

const own = { AWS_ENDPOINT_URL_S3: 'https://minio.zone:9000' };

it.each<[string, Record<string, string>, ReturnType<typeof s3Settings>]>([
  ['AWS itself', {}, {}],
  ['a store with an address of its own', own, { region: 'us-east-1' }],
  ['one by the common variable', { AWS_ENDPOINT_URL: 'http://minio' }, { region: 'us-east-1' }],
  ['one with a region', { ...own, AWS_REGION: 'zone-1' }, { region: 'zone-1' }],
  ['one with a region by its old name', { ...own, AWS_DEFAULT_REGION: 'zone-1' }, { region: 'zone-1' }],
  ['one with a profile, which may know the region', { ...own, AWS_PROFILE: 'zone' }, {}],
  ['variables that are empty', { AWS_ENDPOINT_URL_S3: '', AWS_ENDPOINT_URL: '', AWS_REGION: '' }, {}],
  ['buckets in the host', { AWS_S3_ADDRESSING_STYLE: 'virtual' }, { pathStyle: false }],
  ['buckets in the path', { AWS_S3_ADDRESSING_STYLE: 'path' }, { pathStyle: true }],
])('are those of %s', (_, env, wanted) => {
  expect(s3Settings(env)).toEqual(wanted);
});

it.each<[string, Record<string, string>]>([
  ['an endpoint without a scheme', { AWS_ENDPOINT_URL_S3: 'minio.zone:9000' }],
  ['an address of digits without a scheme', { AWS_ENDPOINT_URL_S3: '10.0.0.7:9000' }],
  ['another scheme', { AWS_ENDPOINT_URL: 's3://minio.zone' }],
  ['blanks', { AWS_ENDPOINT_URL: 'https://minio zone' }],
  ['a password and another scheme', { AWS_ENDPOINT_URL_S3: 'ftp://admin:canary@minio.zone' }],
  ['a query', { AWS_ENDPOINT_URL_S3: 'https://minio.zone?canary=1' }],
  ['a style that there is not', { AWS_S3_ADDRESSING_STYLE: 'host' }],
])('are refused with %s, which is not repeated', (_, env) => {
  const refused = (): unknown => s3Settings(env);

  expect(refused).toThrow(expect.objectContaining({ code: 'E_USAGE' }) as MirrorError);
  expect(refused).not.toThrow(/canary/);
});
