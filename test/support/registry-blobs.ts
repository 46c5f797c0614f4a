import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Exchange } from './registry-exchange.ts';
import type { RegistryStore } from './registry-store.ts';
import { sendBytes, TestServer, type ServerOptions } from './server.ts';

export interface BlobOptions {
  /** False: Range is ignored and the whole blob comes with 200. Default true. */
  range?: boolean;
  /** Ranges without an end are refused with 416. */
  closedRangesOnly?: boolean;
  /** The status of a HEAD for what is not there, default 404. */
  absentHeadStatus?: 403 | 404;
  /** A request for a blob that names what it accepts is refused with 406. */
  refuseAccept?: boolean;
}

/** A second server, as S3 behind a registry: it knows signed URLs and must never see the registry's credentials. */
export class BlobCdn {
  readonly #issued = new Map<string, { method: string; bytes: Uint8Array }>();
  readonly #expired = new Set<string>();
  readonly #options: BlobOptions;
  #server: TestServer | undefined;

  private constructor(options: BlobOptions) {
    this.#options = options;
  }

  static async start(options: BlobOptions & ServerOptions): Promise<BlobCdn> {
    const cdn = new BlobCdn(options);
    cdn.#server = await TestServer.start((request, response, url) => cdn.#serve(request, response, url), {
      latencyMs: options.latencyMs ?? 0,
    });
    return cdn;
  }

  get server(): TestServer {
    if (!this.#server) throw new Error('the server has not been started');
    return this.#server;
  }

  /** A URL that serves these bytes to this method, until {@link expire}. */
  sign(method: string, digest: string, bytes: Uint8Array): string {
    const path = `/store/${digest.replace(':', '/')}/data?X-Amz-Expires=1200&X-Amz-Signature=${randomUUID()}%2B%3D`;
    this.#issued.set(path, { method, bytes });
    return this.server.url + path;
  }

  /** Every URL that was signed answers 403 from now on. */
  expire(): void {
    for (const path of this.#issued.keys()) this.#expired.add(path);
  }

  #serve(request: IncomingMessage, response: ServerResponse, url: URL): boolean {
    const exchange = new Exchange(request, response, url);
    const path = request.url ?? '/';
    const issued = this.#issued.get(path);
    if (issued?.method !== exchange.method) return false;
    if (exchange.header('authorization') !== undefined) {
      this.server.unexpected.push(`${exchange.method} ${path} with Authorization`);
      return exchange.send(400, 'application/xml', '<Error><Code>InvalidArgument</Code></Error>');
    }
    if (this.#expired.has(path)) {
      return exchange.send(403, 'application/xml', '<Error><Code>AccessDenied</Code></Error>');
    }
    return sendBlob(exchange, issued.bytes, {}, this.#options);
  }
}

/** `GET` and `HEAD /v2/<name>/blobs/<digest>`; false for other methods. */
export function serveBlob(
  exchange: Exchange,
  store: RegistryStore,
  path: { repository: string; digest: string },
  options: BlobOptions & { cdn?: BlobCdn | undefined },
): boolean {
  if (!exchange.reads) return false;
  const { digest } = path;
  if (options.refuseAccept === true && (exchange.header('accept') ?? '*/*') !== '*/*') {
    return exchange.refuse(406, { code: 'UNKNOWN', message: 'not acceptable' });
  }
  const bytes = store.find(path.repository)?.blobs.get(digest);
  if (!bytes) {
    return exchange.refuse(exchange.method === 'HEAD' ? (options.absentHeadStatus ?? 404) : 404, {
      code: 'BLOB_UNKNOWN',
      message: 'blob unknown to registry',
      detail: digest,
    });
  }
  if (options.cdn) return exchange.empty(307, { location: options.cdn.sign(exchange.method, digest, bytes) });
  return sendBlob(exchange, bytes, { 'docker-content-digest': digest, etag: `"${digest}"` }, options);
}

function sendBlob(exchange: Exchange, bytes: Uint8Array, headers: Record<string, string>, options: BlobOptions): true {
  const contentType = 'application/octet-stream';
  if (options.closedRangesOnly === true && exchange.header('range')?.endsWith('-') === true) return exchange.empty(416);
  if (options.range === false) return exchange.send(200, contentType, bytes, headers);
  exchange.request.resume();
  return sendBytes(exchange.request, exchange.response, bytes, { 'content-type': contentType, ...headers });
}
