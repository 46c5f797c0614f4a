import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBody, sendBytes, sendJson, type ServerOptions, TestServer } from './server.ts';

/** Switches of the stand-in for Google Cloud Storage. */
export interface GcsOptions extends ServerOptions {
  buckets: readonly string[];
  /** Rows on a page of a listing; default 1000. */
  pageSize?: number;
  /** Requests that the caller has no right to, by method and key. */
  deny?: (method: string, key: string) => boolean;
}

interface StoredObject {
  body: Buffer;
  metadata: Record<string, string>;
  generation: number;
}

interface Session {
  bucket: string;
  key: string;
  resource: Resource;
  body: Buffer;
}

interface Resource {
  metadata?: Record<string, string>;
  md5Hash?: string;
}

/** A running store. */
export interface TestGcs {
  readonly url: string;
  readonly server: TestServer;
  /** By `bucket/key`; tests may change it. */
  readonly objects: Map<string, StoredObject>;
  close(): Promise<void>;
}

const chunkUnit = 256 * 1024;

/**
 * The part of the JSON API that Google's client uses for objects; an unknown request fails the test.
 * https://cloud.google.com/storage/docs/json_api/v1/objects
 */
export async function startGcs(options: GcsOptions): Promise<TestGcs> {
  const gcs = new GcsServer(options);
  const server = await TestServer.start((request, response) => gcs.serve(request, response), options);
  gcs.url = server.url;
  return { url: server.url, server, objects: gcs.objects, close: () => server.close() };
}

class GcsServer {
  url = '';
  readonly objects = new Map<string, StoredObject>();
  readonly #options: GcsOptions;
  readonly #sessions = new Map<string, Session>();
  #generation = 1000;

  constructor(options: GcsOptions) {
    this.#options = options;
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const [, upload, bucket = '', rest = ''] =
      /^(\/upload)?\/storage\/v1\/b\/([^/?]+)\/o(.*)$/.exec(request.url ?? '') ?? [];
    const { searchParams: query, pathname } = new URL(
      `http://x${rest.startsWith('/') || rest === '' ? rest : `/${rest}`}`,
    );
    const key = decodeURIComponent(rest.startsWith('/') ? (pathname.slice(1).split('/')[0] ?? '') : '');
    if (bucket === '') return false;
    if (!this.#options.buckets.includes(bucket)) return refuse(response, 404, 'The specified bucket does not exist.');
    const named = key || (query.get('name') ?? '');
    if (this.#options.deny?.(request.method ?? '', named)) {
      request.resume();
      return refuse(response, 403, `caller does not have access to ${named}`, 'forbidden');
    }
    if (upload !== undefined) return this.#upload(request, response, bucket, query);
    if (request.method === 'DELETE' && key !== '') {
      if (!this.objects.delete(`${bucket}/${key}`)) return refuse(response, 404, `No such object: ${bucket}/${key}`);
      response.writeHead(204).end();
      return true;
    }
    if (request.method === 'GET' && key === '') return this.#list(response, bucket, query);
    if (request.method === 'GET') return this.#get(request, response, bucket, key, query);
    const [, from = '', toBucket = '', to = ''] = /^\/([^/]+)\/rewriteTo\/b\/([^/]+)\/o\/([^/?]+)/.exec(rest) ?? [];
    if (request.method === 'POST' && to !== '') {
      request.resume();
      return this.#rewrite(response, `${bucket}/${decodeURIComponent(from)}`, toBucket, decodeURIComponent(to));
    }
    return false;
  }

  #list(response: ServerResponse, bucket: string, query: URLSearchParams): boolean {
    const known = ['prefix', 'pageToken', 'maxResults', 'prettyPrint'];
    if ([...query.keys()].some((name) => !known.includes(name))) return false;
    const prefix = `${bucket}/${query.get('prefix') ?? ''}`;
    const names = [...this.objects.keys()]
      .filter((name) => name.startsWith(prefix))
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const start = Number(query.get('pageToken') ?? 0);
    const end = start + (this.#options.pageSize ?? 1000);
    const items = names.slice(start, end).map((name) => this.#resource(bucket, name.slice(bucket.length + 1)));
    return sendJson(response, 200, {
      kind: 'storage#objects',
      items,
      ...(end < names.length ? { nextPageToken: String(end) } : {}),
    });
  }

  #get(
    request: IncomingMessage,
    response: ServerResponse,
    bucket: string,
    key: string,
    query: URLSearchParams,
  ): boolean {
    const found = this.objects.get(`${bucket}/${key}`);
    if (!found) return refuse(response, 404, `No such object: ${bucket}/${key}`);
    if (query.get('alt') !== 'media') return sendJson(response, 200, this.#resource(bucket, key));
    return sendBytes(request, response, found.body, { 'content-type': 'application/octet-stream' });
  }

  #rewrite(response: ServerResponse, from: string, bucket: string, key: string): boolean {
    const found = this.objects.get(from);
    if (!found) return refuse(response, 404, `No such object: ${from}`);
    this.#keep(bucket, key, found.body, { metadata: found.metadata });
    return sendJson(response, 200, {
      kind: 'storage#rewriteResponse',
      done: true,
      resource: this.#resource(bucket, key),
    });
  }

  async #upload(
    request: IncomingMessage,
    response: ServerResponse,
    bucket: string,
    query: URLSearchParams,
  ): Promise<boolean> {
    const body = await readBody(request);
    const id = query.get('upload_id');
    if (request.method === 'PUT' && id !== null) return this.#chunk(request, response, id, body);
    const key = query.get('name') ?? '';
    if (request.method !== 'POST' || key === '') return false;
    if (query.get('uploadType') === 'multipart') return this.#whole(request, response, bucket, key, body);
    if (query.get('uploadType') !== 'resumable') return false;
    const session = `session-${this.#sessions.size + 1}`;
    this.#sessions.set(session, {
      bucket,
      key,
      resource: JSON.parse(body.toString()) as Resource,
      body: Buffer.alloc(0),
    });
    const location = `${this.url}/upload/storage/v1/b/${bucket}/o?uploadType=resumable&upload_id=${session}`;
    response.writeHead(200, { location, 'content-length': '0' }).end();
    return true;
  }

  #whole(request: IncomingMessage, response: ServerResponse, bucket: string, key: string, body: Buffer): boolean {
    const boundary = /boundary=["']?([^"';]+)/.exec(request.headers['content-type'] ?? '')?.[1];
    if (boundary === undefined) return false;
    const parts = splitParts(body, `--${boundary}`);
    if (parts.length !== 2) return refuse(response, 400, `${parts.length} parts came, 2 were wanted`);
    const [resource, bytes] = parts as [Buffer, Buffer];
    return this.#store(response, bucket, key, bytes, JSON.parse(resource.toString()) as Resource);
  }

  #chunk(request: IncomingMessage, response: ServerResponse, id: string, body: Buffer): boolean {
    const session = this.#sessions.get(id);
    if (!session) return refuse(response, 404, 'no such session');
    const range = /^bytes (?:(\d+)-(\d+|\*)|\*)\/(\d+|\*)$/.exec(request.headers['content-range'] ?? '');
    if (!range) return refuse(response, 400, `bad content-range ${request.headers['content-range']}`);
    const [, start, , total = '*'] = range;
    if (start !== undefined) {
      if (Number(start) !== session.body.length)
        return refuse(response, 400, `byte ${session.body.length} was wanted, ${start} came`);
      if (total === '*' && body.length % chunkUnit !== 0)
        return refuse(response, 400, `a chunk of ${body.length} bytes that is not the last`);
      session.body = Buffer.concat([session.body, body]);
    }
    if (total === '*' || Number(total) > session.body.length) {
      const kept = session.body.length > 0 ? { range: `bytes=0-${session.body.length - 1}` } : {};
      response.writeHead(308, { 'content-length': '0', ...kept }).end();
      return true;
    }
    this.#sessions.delete(id);
    return this.#store(response, session.bucket, session.key, session.body, session.resource);
  }

  #store(response: ServerResponse, bucket: string, key: string, body: Buffer, resource: Resource): boolean {
    if (resource.md5Hash !== undefined && resource.md5Hash !== md5(body))
      return refuse(response, 400, `Provided MD5 hash "${resource.md5Hash}" does not match`, 'invalid');
    this.#keep(bucket, key, body, resource);
    return sendJson(response, 200, this.#resource(bucket, key));
  }

  #keep(bucket: string, key: string, body: Buffer, { metadata = {} }: Resource): void {
    this.#generation += 1;
    this.objects.set(`${bucket}/${key}`, { body, metadata, generation: this.#generation });
  }

  #resource(bucket: string, key: string): Record<string, unknown> {
    const { body = Buffer.alloc(0), metadata, generation } = this.objects.get(`${bucket}/${key}`) ?? {};
    return {
      kind: 'storage#object',
      bucket,
      name: key,
      size: String(body.length),
      generation: String(generation),
      md5Hash: md5(body),
      metadata,
    };
  }
}

function md5(body: Buffer): string {
  return createHash('md5').update(body).digest('base64');
}

function refuse(response: ServerResponse, code: number, message: string, reason = 'notFound'): boolean {
  return sendJson(response, code, { error: { code, message, errors: [{ message, domain: 'global', reason }] } });
}

/** The bodies of the parts of a multipart document. */
function splitParts(body: Buffer, delimiter: string): Buffer[] {
  const parts: Buffer[] = [];
  for (let start = body.indexOf(delimiter); start >= 0;) {
    const next = body.indexOf(`\r\n${delimiter}`, start + delimiter.length);
    const head = body.indexOf('\r\n\r\n', start);
    if (next < 0 || head < 0 || head > next) break;
    parts.push(body.subarray(head + 4, next));
    start = next + 2;
  }
  return parts;
}
