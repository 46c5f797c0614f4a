import type { Bucket, File, FileMetadata, Storage } from '@google-cloud/storage';
import type { RetryOptions } from '../http/retry.ts';

export interface LoadedGcs {
  /** Tries nothing again: that is done around it. */
  bucket: Bucket;
  /** For uploads in several requests, which only the client itself can go on with. */
  uploads: Bucket;
}

export type GcsFile = File;
export type GcsMetadata = FileMetadata;

/** Google's client is loaded when a bucket is first asked. Credentials: https://cloud.google.com/docs/authentication/application-default-credentials */
export async function loadGcs(bucket: string, retry: RetryOptions, endpoint: string | undefined): Promise<LoadedGcs> {
  const sdk = await import('@google-cloud/storage');
  const place =
    endpoint === undefined
      ? {}
      : // A token goes nowhere by plain HTTP.
        { apiEndpoint: endpoint, useAuthWithCustomEndpoint: endpoint.startsWith('https:') };
  const open = (retryOptions: Storage['retryOptions']): Bucket =>
    new sdk.Storage({ ...place, retryOptions }).bucket(bucket);
  return {
    bucket: open({ autoRetry: false, maxRetries: 0 }),
    uploads: open({
      autoRetry: true,
      maxRetries: retry.attempts - 1,
      // In seconds; the client takes nothing below its first pause.
      maxRetryDelay: Math.max(1, retry.maxPauseMs / 1000),
      // What is put again is the same bytes under the same name.
      idempotencyStrategy: sdk.IdempotencyStrategy.RetryAlways,
    }),
  };
}
