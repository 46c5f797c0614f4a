import { createHash, createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { S3Error } from './s3-error.ts';

/** Who may sign requests. */
export interface S3Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  region: string;
}

interface Authorization {
  keyId: string;
  /** `date/region/service/aws4_request` */
  scope: string;
  signedHeaders: string[];
  signature: string;
}

const MAX_SKEW_MS = 15 * 60_000;

/** Checks a signature of version 4 in the Authorization header, as S3 does; throws what the client gets. */
export function verifySignature(request: IncomingMessage, credentials: S3Credentials, now: number): void {
  const authorization = readAuthorization(request);
  if (authorization.keyId !== credentials.accessKeyId) throw new S3Error('InvalidAccessKeyId');
  const date = header(request, 'x-amz-date');
  checkScope(authorization, date, credentials.region, now);
  checkSignedHeaders(request, authorization);
  const text = ['AWS4-HMAC-SHA256', date, authorization.scope, sha256(canonicalRequest(request, authorization))];
  const key = signingKey(credentials.secretAccessKey, authorization.scope);
  const expected = createHmac('sha256', key).update(text.join('\n')).digest('hex');
  if (expected !== authorization.signature) throw new S3Error('SignatureDoesNotMatch');
}

/** Checks the body against the hash that was signed. */
export function verifyPayload(request: IncomingMessage, body: Buffer): void {
  const signed = header(request, 'x-amz-content-sha256');
  if (signed === 'UNSIGNED-PAYLOAD') return;
  if (signed !== sha256(body)) throw new S3Error('XAmzContentSHA256Mismatch');
}

function readAuthorization(request: IncomingMessage): Authorization {
  const value = request.headers.authorization;
  if (value === undefined) throw new S3Error('AccessDenied');
  if (!value.startsWith('AWS4-HMAC-SHA256 ')) throw new S3Error('InvalidRequest', ': use AWS4-HMAC-SHA256');
  const field = (name: string): string => new RegExp(`${name}=([^,\\s]+)`).exec(value)?.[1] ?? '';
  const [keyId = '', ...scope] = field('Credential').split('/');
  return {
    keyId,
    scope: scope.join('/'),
    signedHeaders: field('SignedHeaders').split(';'),
    signature: field('Signature'),
  };
}

function checkScope({ scope }: Authorization, date: string, region: string, now: number): void {
  const [day = '', scopeRegion, service, end] = scope.split('/');
  const wanted = `expecting '${region}'`;
  if (scopeRegion !== region) {
    throw new S3Error('AuthorizationHeaderMalformed', `; the region '${scopeRegion}' is wrong; ${wanted}`);
  }
  if (service !== 's3' || end !== 'aws4_request' || !date.startsWith(day) || day.length !== 8) {
    throw new S3Error('AuthorizationHeaderMalformed');
  }
  const iso = date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
  const skew = Math.abs(Date.parse(iso) - now);
  if (!(skew <= MAX_SKEW_MS)) throw new S3Error('RequestTimeTooSkewed');
}

function checkSignedHeaders(request: IncomingMessage, { signedHeaders }: Authorization): void {
  const required = ['host', ...Object.keys(request.headers).filter((name) => name.startsWith('x-amz-'))];
  const unsigned = required.filter((name) => !signedHeaders.includes(name));
  if (unsigned.length > 0) throw new S3Error('AccessDenied', `: headers that were not signed: ${unsigned.join(', ')}`);
  if (header(request, 'x-amz-content-sha256') === '') {
    throw new S3Error('InvalidRequest', ': missing required header x-amz-content-sha256');
  }
}

function canonicalRequest(request: IncomingMessage, { signedHeaders }: Authorization): string {
  const [path, query] = splitOnce(request.url ?? '/', '?');
  const lines = signedHeaders.map((name) => `${name}:${header(request, name).trim().replaceAll(/ +/g, ' ')}\n`);
  return [
    request.method,
    path.split('/').map(reencode).join('/'),
    canonicalQuery(query),
    lines.join(''),
    signedHeaders.join(';'),
    header(request, 'x-amz-content-sha256'),
  ].join('\n');
}

function canonicalQuery(query: string): string {
  const pairs = query === '' ? [] : query.split('&').map((pair) => splitOnce(pair, '=').map(reencode));
  return pairs
    .map(([name = '', value = '']) => [name, value] as const)
    .sort((a, b) => compare(a[0], b[0]) || compare(a[1], b[1]))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

function signingKey(secret: string, scope: string): Buffer {
  let key = Buffer.from(`AWS4${secret}`);
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest();
  return key;
}

/** One spelling for every way to escape the same text: clients differ in what they leave bare. */
function reencode(text: string): string {
  const escape = (letter: string): string => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(decodeURIComponent(text)).replaceAll(/[!'()*]/g, escape);
}

function header(request: IncomingMessage, name: string): string {
  const value = request.headers[name] ?? '';
  return typeof value === 'string' ? value : value.join(',');
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
