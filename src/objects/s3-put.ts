import { digestHex, sha256 } from '../core/digest.ts';
import type { ErrorPlace } from '../core/errors.ts';
import type { HttpResponse } from '../http/client.ts';
import type { LoadedSdk } from './s3-sdk.ts';
import { escaped, signed, unsigned } from './s3-signature.ts';

/** Bytes on their way into a bucket. */
export interface Upload {
  address: { Bucket: string; Key: string };
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body: Uint8Array;
  /** Hex sha256 of the body, or `unsigned`; where it is not given the body is hashed, unless TLS guards it. */
  payload?: string;
  at: ErrorPlace;
}

/**
 * PUTs by a request of our own: the SDK spends several times the processor time on each, which is most of what many small
 * objects cost. Credentials, region, clock and address are the SDK's.
 * @returns the ETag, with its quotes
 * @throws what the store says, in the shape that errors of the SDK have; E_NETWORK, E_TLS, E_ABORTED
 */
export async function putBody(loaded: LoadedSdk, upload: Upload, signal?: AbortSignal): Promise<string | undefined> {
  const { client, http, answerMs } = loaded;
  const { address, query = {}, headers = {}, body, at } = upload;
  const url = new URL(await baseOf(loaded, address.Bucket));
  url.pathname += address.Key.split('/').map(escaped).join('/');
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const payload = upload.payload ?? (url.protocol === 'https:' ? unsigned : digestHex(sha256(body)));
  const keys = { ...(await client.config.credentials()), region: await client.config.region() };
  const now = new Date(Date.now() + client.config.systemClockOffset);
  const response = await http.send({
    method: 'PUT',
    url,
    headers: { ...signed({ method: 'PUT', url, headers, payload }, keys, now), 'content-length': String(body.length) },
    body,
    signal,
    at,
    answerMs,
  });
  if (response.status !== 200) throw await errorOf(response, loaded);
  await response.discard();
  return response.headers['etag'];
}

/** Where the keys of a bucket begin: the SDK knows how each kind of store is addressed. */
async function baseOf({ sdk, client, bases }: LoadedSdk, Bucket: string): Promise<string> {
  const known = bases.get(Bucket);
  if (known !== undefined) return known;
  const command = new sdk.HeadObjectCommand({ Bucket, Key: 'k' });
  let base = '';
  // Nothing is sent: the request is looked at once it has its address.
  command.middlewareStack.add(
    () =>
      ({ request }) => {
        const { protocol, hostname, port, path } = request as Record<'protocol' | 'hostname' | 'port' | 'path', string>;
        base = `${protocol}//${hostname}${port ? `:${port}` : ''}${path.slice(0, -1)}`;
        return Promise.resolve({ response: {}, output: { $metadata: {} } });
      },
    { step: 'finalizeRequest', priority: 'high' },
  );
  await client.send(command);
  bases.set(Bucket, base);
  return base;
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
async function errorOf(response: HttpResponse, { client }: LoadedSdk): Promise<Error> {
  const { status, headers } = response;
  const text = (await response.bytes()).toString();
  const field = (name: string): string | undefined => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1];
  const name = field('Code') ?? `status ${status}`;
  const clock = Date.parse(headers['date'] ?? '');
  if (name === 'RequestTimeTooSkewed' && !Number.isNaN(clock)) client.config.systemClockOffset = clock - Date.now();
  return Object.assign(new Error(unescaped(field('Message') ?? '')), {
    name,
    Region: field('Region') ?? headers['x-amz-bucket-region'],
    $metadata: { httpStatusCode: status },
  });
}

function unescaped(text: string): string {
  const letters: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&', '#39': "'", '#34': '"' };
  return text.replaceAll(/&(lt|gt|quot|apos|amp|#39|#34);/g, (_, name: string) => letters[name] ?? '');
}
