import { createHash, createHmac } from 'node:crypto';

/** Stands for the sha256 of a body that something else guards. */
export const unsigned = 'UNSIGNED-PAYLOAD';

/** What a request is signed with. */
export interface SigningKeys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  region: string;
}

/** A request as far as its signature speaks of it. */
export interface SignedRequest {
  method: 'PUT';
  url: URL;
  /** By lower-case name; all of them are signed. */
  headers: Record<string, string>;
  /** Hex sha256 of the body, or `unsigned`. */
  payload: string;
}

/** The headers of a request, and its signature among them. https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html */
export function signed({ method, url, headers, payload }: SignedRequest, keys: SigningKeys, now: Date): typeof headers {
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const scope = `${time.slice(0, 8)}/${keys.region}/s3/aws4_request`;
  const all: typeof headers = {
    ...headers,
    host: url.host,
    'x-amz-content-sha256': payload,
    'x-amz-date': time,
    ...(keys.sessionToken === undefined ? {} : { 'x-amz-security-token': keys.sessionToken }),
  };
  const names = Object.keys(all).sort();
  const canonical = [
    method,
    url.pathname,
    [...url.searchParams]
      .map(([name, value]) => `${escaped(name)}=${escaped(value)}`)
      .sort()
      .join('&'),
    ...names.map((name) => `${name}:${all[name]}`),
    '',
    names.join(';'),
    payload,
  ].join('\n');
  const text = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(canonical).digest('hex')].join('\n');
  let key: string | Buffer = `AWS4${keys.secretAccessKey}`;
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest();
  const signature = createHmac('sha256', key).update(text).digest('hex');
  const credential = `Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}`;
  return { ...all, authorization: `AWS4-HMAC-SHA256 ${credential}, Signature=${signature}` };
}

/** As signatures have it: what `encodeURIComponent` leaves bare is escaped too. */
export function escaped(text: string): string {
  const escape = (letter: string): string => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, escape);
}
