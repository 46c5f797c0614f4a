import { Agent as HttpsAgent } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { S3Client } from '@aws-sdk/client-s3';
import { toolName } from '../core/version.ts';
import { HttpClient } from '../http/client.ts';

/** The SDK takes longer to load than most commands run, so it is loaded when a store is first asked. */
export interface LoadedSdk {
  sdk: typeof import('@aws-sdk/client-s3');
  client: S3Client;
  /** For what is sent without the SDK: by no proxy, as the SDK knows none. */
  http: HttpClient;
  /** How long an answer may take: a store may be silent while it puts the parts of a large object together. */
  answerMs: number;
  /** Addresses of buckets, by name. */
  bases: Map<string, string>;
}

export interface ConnectionOptions {
  /** PEM text of authorities to trust beside the public ones. */
  ca?: string | undefined;
  /** The AWS chain knows it when this is not given. */
  region?: string | undefined;
  /** Names the bucket in the path and not in the host, as stores with an address of their own want it. */
  pathStyle?: boolean;
  stallMs?: number;
}

export async function loadSdk({
  ca,
  pathStyle = false,
  region,
  stallMs = 30_000,
}: ConnectionOptions): Promise<LoadedSdk> {
  const sdk = await import('@aws-sdk/client-s3');
  const answerMs = 10 * stallMs;
  const client = new sdk.S3Client({
    // Trailers and checksum headers are what third-party stores refuse; payloads are signed with their sha256 anyway.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 1,
    forcePathStyle: pathStyle,
    ...(region === undefined ? {} : { region }),
    followRegionRedirects: true,
    requestHandler: {
      connectionTimeout: stallMs,
      socketTimeout: answerMs,
      httpsAgent: new HttpsAgent({
        keepAlive: true,
        maxSockets: 32,
        ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
      }),
      httpAgent: { keepAlive: true, maxSockets: 32 },
    },
  });
  return { sdk, client, http: new HttpClient({ userAgent: toolName, ca, stallMs }), answerMs, bases: new Map() };
}
