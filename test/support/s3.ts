import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { S3Error, sendS3Error } from './s3-error.ts';
import { listObjects, listParts, listUploads } from './s3-list.ts';
import { parseS3Route, type S3Action, type S3Route } from './s3-route.ts';
import { verifyPayload, verifySignature, type S3Credentials } from './s3-signature.ts';
import { crc32Of, S3Store, type StoredObject, type Upload } from './s3-store.ts';
import { element, readPartList, resultXml } from './s3-xml.ts';
import { readBody, sendBytes, TestServer, type ServerOptions } from './server.ts';

/** Switches of the test store. */
export interface S3Options extends ServerOptions {
  buckets: readonly string[];
  accessKeyId: string;
  secretAccessKey: string;
  /** Must come with every request, as keys that were lent for a while want it. */
  sessionToken?: string;
  /** Default `us-east-1`; another one in a signature is refused. */
  region?: string;
  /** Operations that the caller has no right to; `key` is empty for those on a bucket. */
  deny?: (action: S3Action, key: string) => boolean;
  /** By how much the clock of the store goes before that of this machine. */
  aheadMs?: number;
  /** Rows on a page of a listing; default 1000, the most that S3 gives. */
  pageSize?: number;
  /** What becomes of the CRC-32 of parts: newer stores check it, others pass over it; by default it is refused. */
  checksums?: 'checked' | 'ignored' | undefined;
  /** Writes ETags without quotes, but in listings, as one store does. */
  bareTags?: boolean;
  /** The store that names buckets in the host, below this domain, and not in the path. */
  domain?: string;
}

/** A running store. */
export interface TestS3 {
  readonly url: string;
  readonly server: TestServer;
  /** By `bucket/key`; tests may change it. */
  readonly objects: Map<string, StoredObject>;
  /** Puts an object without a request. */
  put(bucket: string, key: string, body: Uint8Array | string, metadata?: Record<string, string>): void;
  /** Uploads in parts that nobody completed or aborted. */
  dangling(): Upload[];
  /** Begins an upload as another client would; its id comes back. */
  beginUpload(bucket: string, key: string): string;
  /** Ends an upload as a rule of the bucket would. */
  endUpload(id: string): void;
  close(): Promise<void>;
}

interface Exchange extends S3Route {
  request: IncomingMessage;
  response: ServerResponse;
  body: Buffer;
}

/** Headers beginning with `x-amz-` that a request may have; the store implements none of the others. */
const AMZ_HEADERS =
  /^x-amz-(?:date|copy-source(?:-range)?|content-sha256|user-agent|meta-.+|checksum-mode|security-token)$/;
/** Of the checksums of newer stores: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html */
const CHECKSUM_HEADERS = /^x-amz-checksum-(?:algorithm|crc32)$/;
const WRITES = new Set<S3Action>(['PutObject', 'UploadPart', 'CreateMultipartUpload', 'CompleteMultipartUpload']);

/** Starts an S3 store that is as narrow as the older ones in use: path style, signatures, no checksum extensions. */
export async function startS3(options: S3Options): Promise<TestS3> {
  const store = new S3Store(options.buckets);
  const api = new S3Api(store, options);
  const server = await TestServer.start((request, response) => api.handle(request, response), options);
  return {
    url: server.url,
    server,
    objects: store.objects,
    put: (bucket, key, body, metadata = {}) => {
      store.put(bucket, key, Buffer.from(body), metadata);
    },
    dangling: () => [...store.uploads.values()],
    beginUpload: (bucket, key) => store.createUpload(bucket, key, {}).id,
    endUpload: (id) => {
      store.uploads.delete(id);
    },
    close: () => server.close(),
  };
}

class S3Api {
  readonly #store: S3Store;
  readonly #options: S3Options;
  readonly #credentials: S3Credentials;

  constructor(store: S3Store, options: S3Options) {
    this.#store = store;
    this.#options = options;
    this.#credentials = { region: 'us-east-1', ...options };
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const now = Date.now() + (this.#options.aheadMs ?? 0);
    response.setHeader('x-amz-request-id', 'TESTREQUEST');
    response.setHeader('date', new Date(now).toUTCString());
    const body = await readBody(request);
    const route = parseS3Route(request, this.#options.domain);
    const copies = request.headers['x-amz-copy-source'] !== undefined;
    if (!route || (copies && route.action !== 'PutObject' && route.action !== 'UploadPart')) return false;
    try {
      verifySignature(request, this.#credentials, now);
      if (request.headers['x-amz-security-token'] !== this.#options.sessionToken) throw new S3Error('InvalidToken');
      checkHeaders(request, route.action, this.#options.checksums !== undefined);
      verifyPayload(request, body);
      checkMd5(request, body);
      this.#checkAccess(route);
      return this.#answer({ ...route, request, response, body });
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      return sendS3Error(response, error, `/${route.bucket}/${encodeURI(route.key)}`);
    }
  }

  #checkAccess({ action, bucket, key }: S3Route): void {
    if (this.#options.deny?.(action, key)) throw new S3Error('AccessDenied');
    if (!this.#store.hasBucket(bucket)) throw new S3Error('NoSuchBucket');
    if (Buffer.byteLength(key) > 1024) throw new S3Error('KeyTooLongError');
  }

  #answer(exchange: Exchange): boolean {
    const { action, bucket, key, query, response } = exchange;
    switch (action) {
      case 'HeadBucket':
        return sendEmpty(response, 200, { 'x-amz-bucket-region': this.#credentials.region });
      case 'ListObjectsV2':
        return sendXml(response, listObjects(this.#store, bucket, query, this.#options.pageSize ?? 1000));
      case 'ListMultipartUploads':
        return sendXml(response, listUploads(this.#store, bucket, query));
      case 'HeadObject':
      case 'GetObject':
        return this.#read(exchange);
      case 'PutObject':
        return this.#put(exchange);
      case 'DeleteObject':
        this.#store.objects.delete(`${bucket}/${key}`);
        return sendEmpty(response, 204);
      case 'CreateMultipartUpload':
        return this.#createUpload(exchange);
      case 'UploadPart':
      case 'CompleteMultipartUpload':
      case 'AbortMultipartUpload':
      case 'ListParts':
        break;
    }
    return this.#answerUpload(exchange, this.#store.upload(bucket, key, query.get('uploadId') ?? ''));
  }

  #answerUpload(exchange: Exchange, upload: Upload): boolean {
    const { action, query, request, response, body } = exchange;
    if (action === 'ListParts') return sendXml(response, listParts(upload, query));
    const source = this.#copySource(exchange);
    if (action === 'UploadPart' && source) {
      const etag = this.#store.putPart(upload, Number(query.get('partNumber')), source.body);
      return sendXml(response, resultXml('CopyPartResult', [element('ETag', `"${etag}"`)]));
    }
    if (action === 'UploadPart') {
      checkCrc(upload, request, body);
      const etag = this.#store.putPart(upload, Number(query.get('partNumber')), body);
      return sendEmpty(response, 200, { etag: this.#tag(etag) });
    }
    if (action === 'AbortMultipartUpload') {
      this.#store.uploads.delete(upload.id);
      return sendEmpty(response, 204);
    }
    const list = readPartList(body.toString());
    if (!list) throw new S3Error('MalformedXML');
    this.#checkPreconditions(exchange);
    const etag = this.#store.complete(upload, list);
    const fields = [element('Bucket', upload.bucket), element('Key', upload.key), element('ETag', `"${etag}"`)];
    return sendXml(response, resultXml('CompleteMultipartUploadResult', fields));
  }

  #createUpload({ request, response, bucket, key }: Exchange): boolean {
    const upload = this.#store.createUpload(bucket, key, userMetadata(request), request.headers['content-type']);
    const algorithm = request.headers['x-amz-checksum-algorithm'];
    if (algorithm !== undefined && this.#options.checksums === 'checked') {
      if (algorithm !== 'CRC32') throw new S3Error('InvalidArgument', ': x-amz-checksum-algorithm');
      upload.checked = true;
      response.setHeader('x-amz-checksum-algorithm', algorithm);
    }
    const fields = [element('Bucket', bucket), element('Key', key), element('UploadId', upload.id)];
    return sendXml(response, resultXml('InitiateMultipartUploadResult', fields));
  }

  #put(exchange: Exchange): boolean {
    const { request, response, bucket, key, body } = exchange;
    this.#checkPreconditions(exchange);
    const source = this.#copySource(exchange);
    if (source) {
      const etag = this.#store.put(bucket, key, source.body, source.metadata, source.contentType);
      return sendXml(response, resultXml('CopyObjectResult', [element('ETag', `"${etag}"`)]));
    }
    const etag = this.#store.put(bucket, key, body, userMetadata(request), request.headers['content-type']);
    return sendEmpty(response, 200, { etag: this.#tag(etag) });
  }

  /** The object that `x-amz-copy-source` names, or the range of it. */
  #copySource({ request }: Exchange): StoredObject | undefined {
    const named = request.headers['x-amz-copy-source'];
    if (named === undefined) return undefined;
    const stored = this.#store.objects.get(decodeURIComponent(String(named)).replace(/^\//, ''));
    if (!stored) throw new S3Error('NoSuchKey');
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(String(request.headers['x-amz-copy-source-range'] ?? '')) ?? [];
    return start === undefined ? stored : { ...stored, body: stored.body.subarray(Number(start), Number(end) + 1) };
  }

  #checkPreconditions({ request, bucket, key }: Exchange): void {
    const stored = this.#store.objects.get(`${bucket}/${key}`);
    const match = request.headers['if-match'];
    if (match !== undefined && !stored) throw new S3Error('NoSuchKey');
    const isRefused = match !== undefined && !isListed(match, stored?.etag ?? '');
    if (isRefused || (request.headers['if-none-match'] === '*' && stored)) throw new S3Error('PreconditionFailed');
  }

  #read({ request, response, bucket, key }: Exchange): boolean {
    const stored = this.#store.objects.get(`${bucket}/${key}`);
    // Without the right to list, S3 does not tell whether a key exists.
    if (!stored) throw new S3Error(this.#options.deny?.('ListObjectsV2', '') ? 'AccessDenied' : 'NoSuchKey');
    const { range } = request.headers;
    const start = /^bytes=(\d+)-\d*$/.exec(range ?? '')?.[1];
    if (range !== undefined && (start === undefined || request.method === 'HEAD')) return false;
    const match = request.headers['if-match'];
    if (match !== undefined && !isListed(match, stored.etag)) throw new S3Error('PreconditionFailed');
    if (isListed(request.headers['if-none-match'] ?? '', stored.etag)) {
      return sendEmpty(response, 304, { etag: `"${stored.etag}"` });
    }
    if (start !== undefined && Number(start) >= stored.body.length) throw new S3Error('InvalidRange');
    return sendBytes(request, response, stored.body, { ...objectHeaders(stored), etag: this.#tag(stored.etag) });
  }

  #tag(etag: string): string {
    return this.#options.bareTags ? etag : `"${etag}"`;
  }
}

/** Refuses what older stores do not know, before anything else about the request is looked at. */
function checkHeaders(request: IncomingMessage, action: S3Action, checksums: boolean): void {
  const { headers } = request;
  const isChunked = String(headers['x-amz-content-sha256']).startsWith('STREAMING-');
  const isEncoded = headers['content-encoding']?.includes('aws-chunked') ?? false;
  if (isChunked || isEncoded) throw new S3Error('NotImplemented', ': aws-chunked');
  const unknown = Object.keys(headers).filter(
    (name) => name.startsWith('x-amz-') && !AMZ_HEADERS.test(name) && !(checksums && CHECKSUM_HEADERS.test(name)),
  );
  if (unknown.length > 0) throw new S3Error('NotImplemented', `: ${unknown.join(', ')}`);
  if (!WRITES.has(action)) return;
  if (headers['x-amz-checksum-mode'] !== undefined) throw new S3Error('NotImplemented', ': x-amz-checksum-mode');
  const needsLength = action === 'PutObject' || action === 'UploadPart';
  if (needsLength && headers['content-length'] === undefined) throw new S3Error('MissingContentLength');
}

/** An upload that was begun with an algorithm takes no part without it. */
function checkCrc({ checked }: Upload, request: IncomingMessage, body: Buffer): void {
  const given = request.headers['x-amz-checksum-crc32'];
  if (given === undefined && !checked) return;
  if (!checked) throw new S3Error('InvalidRequest', ': the upload has no checksum algorithm');
  if (given !== crc32Of(body)) throw new S3Error('BadDigest');
}

function userMetadata(request: IncomingMessage): Record<string, string> {
  const prefix = 'x-amz-meta-';
  const pairs = Object.entries(request.headers).filter(([name]) => name.startsWith(prefix));
  const metadata = Object.fromEntries(pairs.map(([name, value]) => [name.slice(prefix.length), String(value)]));
  if (Object.entries(metadata).flat().join('').length > 2048) throw new S3Error('MetadataTooLarge');
  return metadata;
}

function objectHeaders(stored: StoredObject): Record<string, string> {
  const metadata = Object.entries(stored.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value] as const);
  return {
    'content-type': stored.contentType ?? 'binary/octet-stream',
    'last-modified': (stored.lastModified ?? new Date(0)).toUTCString(),
    ...Object.fromEntries(metadata),
  };
}

function isListed(header: string, etag: string): boolean {
  return header.split(',').some((item) => item.trim() === '*' || item.trim().replaceAll('"', '') === etag);
}

function sendXml(response: ServerResponse, xml: string): true {
  const headers = { 'content-type': 'application/xml', 'content-length': String(Buffer.byteLength(xml)) };
  response.writeHead(200, headers).end(xml);
  return true;
}

function sendEmpty(response: ServerResponse, status: number, headers: Record<string, string> = {}): true {
  const length = status === 200 ? { 'content-length': '0' } : {};
  response.writeHead(status, { ...length, ...headers }).end();
  return true;
}

/** Content-MD5 is optional; a wrong one is an error all the same. */
function checkMd5(request: IncomingMessage, body: Buffer): void {
  const wanted = request.headers['content-md5'];
  const actual = createHash('md5').update(body).digest('base64');
  if (wanted !== undefined && wanted !== actual) throw new S3Error('BadDigest');
}
