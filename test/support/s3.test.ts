import { createHash } from 'node:crypto';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { slowDown } from './s3-error.ts';
import { startS3, type S3Options, type TestS3 } from './s3.ts';

const KEY = { accessKeyId: 'AKTEST', secretAccessKey: 'secret/+key' };
const B = 'bucket';
const running: TestS3[] = [];
let sdk: typeof import('@aws-sdk/client-s3');

beforeAll(async () => {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
  sdk = await import('@aws-sdk/client-s3');
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((store) => store.close()));
});

async function start(options: Partial<S3Options> = {}, config: S3ClientConfig = {}): Promise<[TestS3, S3Client]> {
  const store = await startS3({ buckets: [B], ...KEY, ...options });
  running.push(store);
  const client = new sdk.S3Client({
    endpoint: store.url,
    region: 'us-east-1',
    credentials: KEY,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    maxAttempts: 1,
    ...config,
  });
  return [store, client];
}

function md5(data: Uint8Array | string): string {
  return createHash('md5').update(data).digest('hex');
}

describe('objects', () => {
  it('puts, reads, ranges and deletes, with metadata', async () => {
    const [store, client] = await start();
    const Key = 'a dir/größe+(1)!.txt';
    const put = await client.send(
      new sdk.PutObjectCommand({ Bucket: B, Key, Body: 'hello', Metadata: { sha256: 'x' } }),
    );
    expect(put.ETag).toBe(`"${md5('hello')}"`);
    expect(store.objects.get(`${B}/${Key}`)).toMatchObject({ metadata: { sha256: 'x' }, etag: md5('hello') });
    const head = await client.send(new sdk.HeadObjectCommand({ Bucket: B, Key }));
    expect(head).toMatchObject({ ContentLength: 5, Metadata: { sha256: 'x' } });
    const part = await client.send(new sdk.GetObjectCommand({ Bucket: B, Key, Range: 'bytes=1-2' }));
    expect([await part.Body?.transformToString(), part.ContentRange]).toStrictEqual(['el', 'bytes 1-2/5']);
    await client.send(new sdk.DeleteObjectCommand({ Bucket: B, Key }));
    expect(store.objects.size).toBe(0);
  });

  it('gives the errors of S3', async () => {
    const [store, client] = await start({ deny: (action, key) => action === 'PutObject' && key.startsWith('ro/') });
    const get = (Bucket: string, Key: string, Range?: string): Promise<unknown> =>
      client.send(new sdk.GetObjectCommand({ Bucket, Key, ...(Range ? { Range } : {}) }));
    await expect(get(B, 'absent')).rejects.toMatchObject({ name: 'NoSuchKey' });
    await expect(get('other', 'absent')).rejects.toMatchObject({ name: 'NoSuchBucket' });
    await expect(client.send(new sdk.HeadBucketCommand({ Bucket: 'other' }))).rejects.toMatchObject({
      name: 'NotFound',
    });
    const put = new sdk.PutObjectCommand({ Bucket: B, Key: 'ro/a', Body: 'x' });
    await expect(client.send(put)).rejects.toMatchObject({ name: 'AccessDenied' });
    store.put(B, 'empty', '');
    await expect(get(B, 'empty', 'bytes=0-0')).rejects.toMatchObject({ name: 'InvalidRange' });
    const once = new sdk.PutObjectCommand({ Bucket: B, Key: 'empty', Body: 'x', IfNoneMatch: '*' });
    await expect(client.send(once)).rejects.toMatchObject({ name: 'PreconditionFailed' });
  });

  it('throttles by fault', async () => {
    const [store, client] = await start();
    store.server.faults = () => slowDown();
    const head = new sdk.ListObjectsV2Command({ Bucket: B });
    await expect(client.send(head)).rejects.toMatchObject({ name: 'SlowDown' });
  });
});

describe('signatures', () => {
  it.each([
    ['a wrong secret', { credentials: { ...KEY, secretAccessKey: 'wrong' } }, 'SignatureDoesNotMatch'],
    ['an unknown key', { credentials: { ...KEY, accessKeyId: 'AKOTHER' } }, 'InvalidAccessKeyId'],
    ['another region', { region: 'eu-west-1' }, 'AuthorizationHeaderMalformed'],
    ['a wrong clock', { systemClockOffset: 3_600_000 }, 'RequestTimeTooSkewed'],
  ])('refuses %s', async (_name, config, name) => {
    const [, client] = await start({}, config);
    const list = new sdk.ListObjectsV2Command({ Bucket: B, Prefix: "it's (odd)/*+ä" });
    await expect(client.send(list)).rejects.toMatchObject({ name });
  });

  it('refuses a body that is not the signed one, and no signature at all', async () => {
    const [store, client] = await start();
    client.middlewareStack.add((next) => (args) => next(damaged(args)), { step: 'deserialize' });
    const put = new sdk.PutObjectCommand({ Bucket: B, Key: 'a', Body: 'hello' });
    await expect(client.send(put)).rejects.toMatchObject({ name: 'XAmzContentSHA256Mismatch' });
    const response = await fetch(`${store.url}/${B}/a`);
    expect([response.status, await response.text()]).toStrictEqual([403, expect.stringContaining('AccessDenied')]);
  });

  it('refuses the checksums that newer clients add by themselves', async () => {
    const [, client] = await start({}, { requestChecksumCalculation: 'WHEN_SUPPORTED' });
    const put = new sdk.PutObjectCommand({ Bucket: B, Key: 'a', Body: 'hello' });
    await expect(client.send(put)).rejects.toMatchObject({ name: 'NotImplemented' });
  });
});

describe('listings', () => {
  it('pages, with and without a delimiter', async () => {
    const [store, client] = await start({ pageSize: 2 });
    const keys = ['a b', 'a/1', 'a/2', 'a/b/3', 'a/b/4', 'ä', 'b', '\u{1F600}', '\uFFFD'];
    for (const key of keys) store.put(B, key, key);
    const all = [];
    for await (const page of sdk.paginateListObjectsV2({ client }, { Bucket: B })) {
      expect(page.KeyCount).toBeLessThanOrEqual(2);
      all.push(...(page.Contents ?? []).map((item) => item.Key));
    }
    expect(all).toStrictEqual(keys.toSorted((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y))));
    const rows = [];
    for await (const page of sdk.paginateListObjectsV2({ client }, { Bucket: B, Delimiter: '/', Prefix: 'a/' })) {
      rows.push(...(page.Contents ?? []).map((item) => item.Key), ...(page.CommonPrefixes ?? []).map((p) => p.Prefix));
    }
    expect(rows).toStrictEqual(['a/1', 'a/2', 'a/b/']);
    const list = new sdk.ListObjectsV2Command({ Bucket: B, MaxKeys: 1, EncodingType: 'url' });
    const first = await client.send(list);
    expect([first.Contents?.[0]?.Key, first.IsTruncated]).toStrictEqual(['a+b', true]);
  });
});

describe('uploads in parts', () => {
  const Key = 'big';

  async function upload(client: S3Client, bodies: string[]): Promise<[string, { PartNumber: number; ETag: string }[]]> {
    const create = new sdk.CreateMultipartUploadCommand({ Bucket: B, Key, Metadata: { m: '1' } });
    const { UploadId = '' } = await client.send(create);
    const parts = [];
    for (const [index, Body] of bodies.entries()) {
      const PartNumber = index + 1;
      const command = new sdk.UploadPartCommand({ Bucket: B, Key, UploadId, PartNumber, Body });
      parts.push({ PartNumber, ETag: (await client.send(command)).ETag ?? '' });
    }
    return [UploadId, parts];
  }

  it('joins the parts that were named', async () => {
    const [store, client] = await start();
    const bodies = ['a'.repeat(5 * 1_048_576), 'b'];
    const [UploadId, Parts] = await upload(client, bodies);
    expect(store.dangling()).toHaveLength(1);
    const listed = await client.send(new sdk.ListPartsCommand({ Bucket: B, Key, UploadId }));
    expect(listed.Parts?.map((part) => part.Size)).toStrictEqual([5 * 1_048_576, 1]);
    const uploads = await client.send(new sdk.ListMultipartUploadsCommand({ Bucket: B }));
    expect(uploads.Uploads?.[0]).toMatchObject({ Key, UploadId });
    const complete = { Bucket: B, Key, UploadId, MultipartUpload: { Parts } };
    await client.send(new sdk.CompleteMultipartUploadCommand(complete));
    const etag = md5(Buffer.concat(bodies.map((body) => Buffer.from(md5(body), 'hex'))));
    const stored = store.objects.get(`${B}/${Key}`);
    expect([stored?.etag, stored?.metadata]).toStrictEqual([`${etag}-2`, { m: '1' }]);
    expect(stored?.body.length).toBe(5 * 1_048_576 + 1);
    expect(store.dangling()).toStrictEqual([]);
  });

  it('refuses a wrong list of parts', async () => {
    const [, client] = await start();
    const [UploadId, parts] = await upload(client, ['a', 'b']);
    const complete = (Parts: typeof parts): Promise<unknown> =>
      client.send(new sdk.CompleteMultipartUploadCommand({ Bucket: B, Key, UploadId, MultipartUpload: { Parts } }));
    await expect(complete(parts)).rejects.toMatchObject({ name: 'EntityTooSmall' });
    await expect(complete(parts.toReversed())).rejects.toMatchObject({ name: 'InvalidPartOrder' });
    await expect(complete([{ PartNumber: 3, ETag: '"x"' }])).rejects.toMatchObject({ name: 'InvalidPart' });
    await expect(complete([])).rejects.toMatchObject({ name: 'MalformedXML' });
    await client.send(new sdk.AbortMultipartUploadCommand({ Bucket: B, Key, UploadId }));
    await expect(complete(parts)).rejects.toMatchObject({ name: 'NoSuchUpload' });
  });
});

it('fails the test for an operation that it does not know', async () => {
  const store = await startS3({ buckets: [B], ...KEY });
  await fetch(`${store.url}/${B}?versioning`);
  await expect(store.close()).rejects.toThrow('unexpected requests: GET /bucket?versioning');
});

/** Swaps the body after it was signed. */
function damaged<T extends { request: unknown }>(args: T): T {
  return { ...args, request: Object.assign(args.request as object, { body: 'jello' }) };
}
