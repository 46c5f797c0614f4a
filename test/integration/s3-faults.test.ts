import { afterEach, expect, it, vi } from 'vitest';
import { digestHex, sha256 } from '../../src/core/digest.ts';
import type { MirrorError } from '../../src/core/errors.ts';
import { contentOf } from '../../src/core/stream.ts';
import { S3Store } from '../../src/objects/s3.ts';
import { collectItems } from '../support/contents.ts';
import { failureOf } from '../support/failures.ts';
import { type S3Options, startS3, type TestS3 } from '../support/s3.ts';
import { s3Env, testKeys } from '../support/s3-env.ts';
import { stubEnv } from '../support/stub-env.ts';
import { slowDown } from '../support/s3-error.ts';
import type { S3Action } from '../support/s3-route.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import type { Fault } from '../support/server.ts';
import { pem, serverTls } from '../support/tls.ts';

const mebi = 1024 * 1024;
const small = Buffer.from(seededBytes('small', 600_000));
const large = Buffer.from(seededBytes('large', 17 * mebi));
let s3: TestS3 | undefined;

afterEach(async () => {
  vi.unstubAllEnvs();
  await s3?.close();
  s3 = undefined;
});

async function open(
  options: Partial<S3Options> = {},
  stallMs?: number,
  ca?: string,
): Promise<{ s3: TestS3; store: S3Store }> {
  s3 = await startS3({ buckets: ['models'], ...testKeys, ...options });
  stubEnv(s3Env(s3.url));
  const retry = { attempts: 3, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 10 };
  const patience = stallMs === undefined ? {} : { stallMs };
  const store = new S3Store({ bucket: 'models', prefix: '', retry, ca, ...patience });
  return { s3, store };
}

const put = (store: S3Store, bytes: Buffer): Promise<unknown> =>
  store.put('a', contentOf(bytes), { digest: sha256(bytes), size: bytes.length });

const xml = (code: string, rest = ''): string => `<Error><Code>${code}</Code><Message>${rest}</Message></Error>`;
const status = (number: number, body: string, headers: Record<string, string> = {}): Fault => ({
  kind: 'status',
  status: number,
  headers: { 'content-type': 'application/xml', ...headers },
  body,
});

const passing: [string, Fault][] = [
  ['503 SlowDown', slowDown()],
  ['500 InternalError', status(500, xml('InternalError'))],
  ['502 of something in between', status(502, '<html>bad gateway</html>')],
  ['a reset in the middle of the body', { kind: 'cut', after: 300_000 }],
  ['an answer that is lost', { kind: 'lost' }],
];

it.each(passing)('puts a small object though there was %s', async (_, fault) => {
  const { s3: server, store } = await open({ faults: once(/^PUT /, fault) });

  await put(store, small);

  expect(sha256(server.objects.get('models/a')?.body ?? '')).toBe(sha256(small));
});

it.each(passing)('puts an object in parts though there was %s', async (_, fault) => {
  const { s3: server, store } = await open({ faults: once(/^PUT .*partNumber=2/, fault) });

  await put(store, large);

  expect(sha256(server.objects.get('models/a')?.body ?? '')).toBe(sha256(large));
  expect(server.dangling()).toEqual([]);
});

it('puts an object in parts though the store was silent at one of them', async () => {
  const { s3: server, store } = await open({}, 100);
  let silent: (() => void) | undefined;
  server.server.gate = ({ path }) => {
    if (!path.includes('partNumber=2') || silent) return undefined;
    return new Promise((resolve) => (silent = resolve));
  };

  await put(store, large);

  expect(sha256(server.objects.get('models/a')?.body ?? '')).toBe(sha256(large));
  silent?.();
});

it.each<[string, string, string]>([
  ['expired credentials', 'ExpiredToken', 'E_AUTH'],
  ['credentials that have to be fetched again', 'TokenRefreshRequired', 'E_AUTH'],
  ['a quota that is used up', 'QuotaExceeded', 'E_NO_SPACE'],
  ['a disk of MinIO that is full', 'XMinioStorageFull', 'E_NO_SPACE'],
])('says what to do about %s, asks once only, and goes on later', async (_, code, wanted) => {
  const { s3: server, store } = await open({ faults: () => status(400, xml(code)) });

  const error = await failureOf(put(store, small));

  expect([error.code, error.at.side]).toEqual([wanted, 'target']);
  expect(server.server.requests).toHaveLength(1);
  server.server.faults = undefined;
  await put(store, small);
});

it.each([40, -40])('goes by the clock of a store that is %d minutes ahead', async (minutes) => {
  const { s3: server, store } = await open({ aheadMs: minutes * 60_000 });

  await put(store, small);
  await put(store, small);

  expect(server.server.requests.map((request) => request.status)).toEqual([403, 200, 200]);
});

it('says so when the clocks cannot be reconciled', async () => {
  const { store } = await open({ faults: () => status(403, xml('RequestTimeTooSkewed')) });

  const error = await failureOf(put(store, small));

  expect([error.code, error.hint]).toEqual(['E_AUTH', expect.stringContaining('clock')]);
});

it('follows a store that names its region', async () => {
  const { s3: server, store } = await open({ region: 'eu-zone-7' });

  expect(await collectItems(store.list(''))).toEqual([]);
  await put(store, small);

  expect(server.server.requests.map((request) => request.status)).toEqual([400, 200, 200]);
});

it('follows a store that leads to a region', async () => {
  const headers = { 'x-amz-bucket-region': 'eu-zone-7' };
  const lead = once(/^GET /, status(301, xml('PermanentRedirect'), headers));
  const { store } = await open({ region: 'eu-zone-7', faults: lead });

  expect(await collectItems(store.list(''))).toEqual([]);
});

it.each([status(301, xml('PermanentRedirect')), status(400, xml('AuthorizationHeaderMalformed', 'wrong'))])(
  'says that the region is wrong when the store does not tell which is right',
  async (fault) => {
    const { store } = await open({ faults: () => fault });

    const error = await failureOf(collectItems(store.list('')));

    expect([error.code, error.hint]).toEqual(['E_USAGE', expect.stringContaining('AWS_REGION')]);
  },
);

it('says that the bucket is missing, whatever is asked of it', async () => {
  const { store } = await open({ buckets: ['other'] });
  const work: (() => Promise<unknown>)[] = [
    () => collectItems(store.list('')),
    () => put(store, small),
    () => put(store, large),
  ];

  for (const each of work) {
    const error = await failureOf(each());
    expect([error.code, error.message]).toEqual(['E_NOT_FOUND', expect.stringContaining('no bucket')]);
  }
});

it.each<[S3Action, string, (store: S3Store) => Promise<unknown>]>([
  ['ListObjectsV2', 's3:ListBucket', (store) => collectItems(store.list(''))],
  ['HeadObject', 's3:GetObject', (store) => store.head('a')],
  ['GetObject', 's3:GetObject', async (store) => collectItems(((await store.get('a')) ?? contentOf(small)).open(0))],
  ['PutObject', 's3:PutObject', (store) => put(store, small)],
  ['CreateMultipartUpload', 's3:PutObject', (store) => put(store, large)],
  ['UploadPart', 's3:PutObject', (store) => put(store, large)],
  ['CompleteMultipartUpload', 's3:PutObject', (store) => put(store, large)],
  ['DeleteObject', 's3:DeleteObject', (store) => store.remove('a')],
])('names the right that is lacking when %s is refused: %s', async (action, right, work) => {
  const { s3: server, store } = await open({ deny: (asked) => asked === action });
  server.put('models', 'a', small);

  const error: MirrorError = await failureOf(work(store));

  expect([error.code, error.message]).toEqual(['E_AUTH', expect.stringContaining(right)]);
});

it('puts large objects without the rights to end uploads, to list parts and to delete', async () => {
  const lacking: S3Action[] = ['AbortMultipartUpload', 'ListParts', 'DeleteObject'];
  const { s3: server, store } = await open({ deny: (action) => lacking.includes(action) });

  await put(store, large);
  await put(store, large);

  expect(sha256(server.objects.get('models/a')?.body ?? '')).toBe(sha256(large));
});

it.each([
  ['an authority that nobody named', 'https:', serverTls(), '--ca'],
  ['no TLS', 'https:', undefined, 'http://'],
])('says at once of a store with %s what to do', async (_, scheme, tls, hint) => {
  const { s3: server } = await open(tls ? { tls } : {});
  vi.stubEnv('AWS_ENDPOINT_URL_S3', server.url.replace(/^\w+:/, scheme));
  const tried: string[] = [];
  const retry = { attempts: 3, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 10, onRetry: () => void tried.push('again') };

  const error = await failureOf(collectItems(new S3Store({ bucket: 'models', prefix: '', retry }).list('')));

  expect([error.code, error.exit, tried]).toEqual(['E_TLS', 5, []]);
  expect(error.hint).toContain(hint);
});

it('names HTTPS to one who asks a store that speaks it by plain HTTP', async () => {
  const { s3: server, store } = await open({ tls: serverTls() });
  vi.stubEnv('AWS_ENDPOINT_URL_S3', server.url.replace('https:', 'http:'));

  const error = await failureOf(collectItems(store.list('')));

  expect([error.code, error.hint]).toEqual(['E_NETWORK', expect.stringContaining('https://')]);
});

it.each<[string, Partial<S3Options>, RegExp]>([
  ['by TLS alone', { tls: serverTls() }, /^UNSIGNED-PAYLOAD,undefined$/],
  ['by their sha256 where there is no TLS', {}, /^[0-9a-f]{64},undefined$/],
  ['by their CRC-32 where the store checks it', { checksums: 'checked' }, /^UNSIGNED-PAYLOAD,[\w+/]{6}==$/],
])('guards parts on their way %s, and whole objects by the sha256 that is known', async (_, options, wanted) => {
  const { s3: server, store } = await open(options, undefined, options.tls && pem('ca.pem'));

  await put(store, large);
  await put(store, small);

  const guards = (pattern: RegExp): string[] =>
    server.server.requests
      .filter(({ method, path }) => method === 'PUT' && pattern.test(path))
      .map(({ headers }) => `${String(headers['x-amz-content-sha256'])},${String(headers['x-amz-checksum-crc32'])}`);
  expect(guards(/partNumber=/).map((text) => wanted.test(text))).toEqual([true, true, true]);
  expect(guards(/\/a$/)).toEqual([`${digestHex(sha256(small))},undefined`]);
});

it.each<[string, Partial<S3Options>, number[]]>([
  ['refuses it', {}, [501, 200, 200]],
  ['passes over it', { checksums: 'ignored' }, [200, 200, 200]],
  ['knows it', { checksums: 'checked' }, [200, 200]],
])('asks once whether parts are checked, of a store that %s', async (_, options, statuses) => {
  const { s3: server, store } = await open(options);

  await put(store, large);
  await put(store, Buffer.concat([large, small]));

  const begun = server.server.requests.filter(({ path }) => path.endsWith('?uploads='));
  expect(begun.map(({ status: answer }) => answer)).toEqual(statuses);
  expect(server.dangling()).toEqual([]);
});

function once(pattern: RegExp, fault: Fault): (request: { method: string; path: string }) => Fault | undefined {
  let left = 1;
  return ({ method, path }) => (pattern.test(`${method} ${path}`) && left-- > 0 ? fault : undefined);
}
