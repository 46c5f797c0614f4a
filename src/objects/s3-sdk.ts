import { Agent as HttpsAgent } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { S3Client } from '@aws-sdk/client-s3';

/** The SDK takes longer to load than most commands run, so it is loaded when a store is first asked. */
export interface LoadedSdk {
  sdk: typeof import('@aws-sdk/client-s3');
  client: S3Client;
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
      // A store may be silent while it puts the parts of a large object together.
      socketTimeout: 10 * stallMs,
      httpsAgent: new HttpsAgent({
        keepAlive: true,
        maxSockets: 32,
        ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
      }),
      httpAgent: { keepAlive: true, maxSockets: 32 },
    },
  });
  client.middlewareStack.add(
    (next) => (args) => {
      const { headers, protocol } = args.request as { headers: Record<string, string>; protocol: string };
      const hash = knownPayloadHash(args.input, protocol);
      if (hash !== undefined) headers['x-amz-content-sha256'] = hash;
      return next(args);
    },
    { step: 'build', name: 'knownPayloadHash' },
  );
  return { sdk, client };
}

/**
 * What the SDK need not hash once more: an object that goes whole has its own digest, and the parts of one are guarded by
 * TLS on their way. https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
function knownPayloadHash(input: object, protocol: string): string | undefined {
  if (!('Body' in input)) return undefined;
  if ('PartNumber' in input) return protocol === 'https:' ? 'UNSIGNED-PAYLOAD' : undefined;
  return (input as { Metadata?: Record<string, string> }).Metadata?.['sha256'];
}
