import { type ErrorCode, type ErrorPlace, isAbort, MirrorError } from '../core/errors.ts';

/** What was asked of which object, for messages. */
export interface S3Work {
  bucket: string;
  /** `s3://bucket/key` */
  item: string;
  /** The right that it needs: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html */
  action: S3Action;
}

export type S3Action =
  | 's3:ListBucket'
  | 's3:GetObject'
  | 's3:PutObject'
  | 's3:DeleteObject'
  | 's3:ListMultipartUploadParts'
  | 's3:AbortMultipartUpload';

/** An error of the SDK in our words. */
export function translateS3(error: unknown, { bucket, item, action }: S3Work): MirrorError {
  if (error instanceof MirrorError) return error;
  const at: ErrorPlace = { side: 'target', item };
  if (isAbort(error)) return new MirrorError('E_ABORTED', 'interrupted', { at, cause: error });
  const { name = '', message = '', code = '' } = error as { name?: string; message?: string; code?: string };
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  const place = status === undefined ? at : { ...at, status };
  const known =
    roleError(name, message) ??
    hostError(error) ??
    s3Errors[name] ??
    s3Errors[code] ??
    (status === 403 ? s3Errors['AccessDenied'] : undefined);
  if (known)
    return new MirrorError(known.code, known.text(bucket, action), {
      hint: known.hint,
      at: place,
      cause: error,
    });
  // What never reached the network is the settings' fault: no region, a profile that cannot be read.
  if (status === undefined && code === '' && name === 'Error')
    return new MirrorError('E_USAGE', `\`s3://${bucket}\`: ${message}`, {
      hint: 'check AWS_REGION, AWS_PROFILE and the files in ~/.aws',
      at,
      cause: error,
    });
  const passing = status === undefined || status >= 500 || status === 429;
  return new MirrorError(
    passing ? 'E_NETWORK' : 'E_REMOTE',
    `\`s3://${bucket}\`: ${name}${message === '' ? '' : `: ${message}`}`,
    { at: place, cause: error },
  );
}

/** What the service says that lends credentials to an identity, which is not the store. */
function roleError(name: string, message: string): KnownError | undefined {
  const refused = /\bsts:AssumeRole\w*/.exec(message)?.[0];
  if (refused === undefined && !['InvalidIdentityToken', 'InvalidIdentityTokenException'].includes(name))
    return undefined;
  return {
    code: 'E_AUTH',
    text: () =>
      `no credentials were lent to this identity${refused === undefined ? ': its token was refused' : `: \`${refused}\` was refused`}`,
    hint: 'check AWS_ROLE_ARN, and that the trust policy of that role names this identity',
  };
}

/** The host may be another one than the store, such as one that lends credentials. */
function hostError(error: unknown): KnownError | undefined {
  const { code, hostname } = error as { code?: string; hostname?: string };
  if (code !== 'ENOTFOUND' || hostname === undefined) return undefined;
  return {
    code: 'E_NETWORK',
    text: (bucket) => `the store of \`${bucket}\`: unknown host \`${hostname}\``,
    hint: hostname.startsWith('sts.') ? 'check AWS_ENDPOINT_URL_STS: credentials are lent there' : address,
  };
}

/** Whether the store said this, by its own name for it. */
export function isS3Error(error: unknown, name: string): boolean {
  const { cause, name: own } = error as Error;
  return own === name || (cause instanceof Error && cause.name === name);
}

/** Whether the store may have taken offence at a header: it understood the request, and did not want it. */
export function isRefusal(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  return status === 400 || status === 501;
}

/** The region that a store wants in signatures instead of the one that it got, when it says so. */
export function wantedRegion(error: unknown): string | undefined {
  const { name, message, Region } = error as { name?: string; message?: string; Region?: string };
  if (name !== 'AuthorizationHeaderMalformed' && name !== 'PermanentRedirect') return undefined;
  const named = /expecting '([a-z0-9-]{1,64})'/.exec(message ?? '')?.[1] ?? Region;
  return named !== undefined && /^[a-z0-9-]{1,64}$/.test(named) ? named : undefined;
}

interface KnownError {
  code: ErrorCode;
  text: (bucket: string, action: S3Action) => string;
  hint?: string;
}

const keys = 'check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in AWS_PROFILE';
const spelling = 'create the bucket, or check AWS_ENDPOINT_URL_S3 and the spelling';
const address = 'check AWS_ENDPOINT_URL_S3';

const noBucket: KnownError = {
  code: 'E_NOT_FOUND',
  text: (bucket) => `there is no bucket \`${bucket}\``,
  hint: spelling,
};
const expired: KnownError = {
  code: 'E_AUTH',
  text: () => 'the credentials have expired',
  hint: 'get fresh ones and run the same command again: what has arrived is kept',
};
const wrongRegion: KnownError = {
  code: 'E_USAGE',
  text: (bucket) => `the bucket \`${bucket}\` is in another region`,
  hint: 'set AWS_REGION to the region of the bucket',
};
const untrusted: KnownError = {
  code: 'E_TLS',
  text: (bucket) => `the store of \`${bucket}\` has a certificate from an authority that is not trusted here`,
  hint: 'name the authority with `--ca FILE` (PEM), or set NODE_EXTRA_CA_CERTS',
};
const noTls: KnownError = {
  code: 'E_TLS',
  text: (bucket) => `the store of \`${bucket}\` does not speak HTTPS`,
  hint: 'if it speaks plain HTTP, write AWS_ENDPOINT_URL_S3 with http://',
};
const changed: KnownError = { code: 'E_NETWORK', text: (bucket) => `bytes changed on the way to \`${bucket}\`` };

const s3Errors: Record<string, KnownError> = {
  NoSuchBucket: noBucket,
  NotFound: noBucket,
  NoSuchKey: { code: 'E_NOT_FOUND', text: (bucket) => `an object that was there is gone from \`${bucket}\`` },
  NoSuchUpload: {
    code: 'E_NOT_FOUND',
    text: (bucket) => `an upload to \`${bucket}\` was ended by somebody else`,
    hint: 'run the same command again: what has arrived is kept',
  },
  AccessDenied: {
    code: 'E_AUTH',
    text: (bucket, action) => `not allowed in the bucket \`${bucket}\`: \`${action}\` was refused`,
    hint: 'have that action allowed for these credentials',
  },
  InvalidAccessKeyId: {
    code: 'E_AUTH',
    text: (bucket) => `the store of \`${bucket}\` does not know this access key`,
    hint: keys,
  },
  SignatureDoesNotMatch: {
    code: 'E_AUTH',
    text: (bucket) => `the store of \`${bucket}\` refused the signature: the secret key is wrong`,
    hint: keys,
  },
  InvalidToken: {
    code: 'E_AUTH',
    text: (bucket) => `the store of \`${bucket}\` refused the session token`,
    hint: 'check AWS_SESSION_TOKEN: it belongs to the two keys that came with it',
  },
  ExpiredToken: expired,
  ExpiredTokenException: expired,
  TokenRefreshRequired: expired,
  RequestTimeTooSkewed: {
    code: 'E_AUTH',
    text: () => 'the clock of this machine differs too much from the store',
    hint: 'set the clock and run the same command again',
  },
  AuthorizationHeaderMalformed: wrongRegion,
  PermanentRedirect: wrongRegion,
  IllegalLocationConstraintException: wrongRegion,
  CredentialsProviderError: {
    code: 'E_AUTH',
    text: (bucket) => `there are no credentials for \`s3://${bucket}\``,
    hint: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE',
  },
  QuotaExceeded: { code: 'E_NO_SPACE', text: (bucket) => `the quota of \`${bucket}\` is used up` },
  XMinioStorageFull: { code: 'E_NO_SPACE', text: (bucket) => `the store of \`${bucket}\` is full` },
  SlowDown: { code: 'E_RATE_LIMIT', text: (bucket) => `the store of \`${bucket}\` asks to slow down` },
  XAmzContentSHA256Mismatch: changed,
  BadDigest: changed,
  ECONNREFUSED: {
    code: 'E_NETWORK',
    text: (bucket) => `the store of \`${bucket}\`: connection refused`,
    hint: address,
  },
  ECONNRESET: {
    code: 'E_NETWORK',
    text: (bucket) => `the store of \`${bucket}\`: the connection was reset`,
    hint: 'run the same command again; a store that speaks HTTPS wants AWS_ENDPOINT_URL_S3 with https://',
  },
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  CERT_HAS_EXPIRED: {
    code: 'E_TLS',
    text: (bucket) => `the certificate of the store of \`${bucket}\` has expired`,
    hint: 'have it renewed; if that date has not come yet, set the clock of this machine',
  },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    code: 'E_TLS',
    text: (bucket) => `the certificate of the store of \`${bucket}\` is for another name`,
    hint: 'write AWS_ENDPOINT_URL_S3 with a name that stands in the certificate',
  },
  EPROTO: noTls,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
};
