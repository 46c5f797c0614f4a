import { Agent as HttpsAgent } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { S3Client } from '@aws-sdk/client-s3';
import { toolName } from '../core/version.ts';
import { HttpClient } from '../http/client.ts';
import { tlsSettings } from '../http/tls.ts';

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
  /** Names the bucket in the path and not in the host. By default so does every store with an address of its own. */
  pathStyle?: boolean | undefined;
  /** Whether the user wants the certificate of this host (`name` or `name:port`) not to be checked; asked once. */
  isUnchecked?: (host: string) => boolean;
  stallMs?: number;
}

/** @throws what the settings of AWS are wrong in, as the SDK says it */
export async function loadSdk(options: ConnectionOptions): Promise<LoadedSdk> {
  const { ca, pathStyle, region, stallMs = 30_000 } = options;
  const sdk = await import('@aws-sdk/client-s3');
  const answerMs = 10 * stallMs;
  const httpsAgent = new HttpsAgent({
    keepAlive: true,
    maxSockets: 32,
    ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
  });
  const client = new sdk.S3Client({
    // Trailers and checksum headers are what third-party stores refuse; payloads are signed with their sha256 anyway.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 1,
    ...(region === undefined ? {} : { region }),
    followRegionRedirects: true,
    requestHandler: {
      connectionTimeout: stallMs,
      socketTimeout: answerMs,
      httpsAgent,
      httpAgent: { keepAlive: true, maxSockets: 32 },
    },
  });
  const endpoint = await endpointOf(client);
  client.config.forcePathStyle = pathStyle ?? endpoint !== undefined;
  const isUnchecked = endpoint?.protocol === 'https:' && options.isUnchecked?.(endpoint.host) === true;
  if (isUnchecked) httpsAgent.options.rejectUnauthorized = false;
  const tls = isUnchecked ? await tlsSettings({ verify: false }) : undefined;
  const tlsOf = tls && { tlsOf: () => Promise.resolve(tls) };
  const http = new HttpClient({ userAgent: toolName, ca, stallMs, ...tlsOf });
  return { sdk, client, http, answerMs, bases: new Map() };
}

/** From the environment or the profile; undefined for AWS itself. */
async function endpointOf({ config }: S3Client): Promise<URL | undefined> {
  const { serviceConfiguredEndpoint: find } = config as {
    serviceConfiguredEndpoint?: () => Promise<string | undefined>;
  };
  const found = await find?.();
  return found !== undefined && URL.canParse(found) ? new URL(found) : undefined;
}
