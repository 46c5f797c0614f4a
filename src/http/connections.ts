import type { Socket } from 'node:net';
import { callbackify } from 'node:util';
import { optimiseLater } from '../core/engine.ts';
import type { Agent as UndiciAgent, BuildConnector, Dispatcher } from './undici.ts';
import type { BulkAnswer, Dial } from './bulk-connection.ts';
import { BulkClient } from './bulk.ts';
import type { Proxy } from './proxy.ts';
import { releaseSent } from './release-sent.ts';
import type { TlsSettings } from './tls.ts';

/** How a host is reached. */
export interface Route {
  tls: TlsSettings | undefined;
  proxy: Proxy | undefined;
}

export interface OutgoingRequest {
  method: Dispatcher.HttpMethod;
  headers: Record<string, string>;
  body: Uint8Array | string | AsyncIterable<Uint8Array> | undefined;
  signal: AbortSignal | undefined;
  /** How long the headers of the answer may take. */
  answerMs: number | undefined;
  /** Much is expected of a GET. */
  bulk: boolean;
}

export interface IncomingResponse {
  statusCode: number;
  headers: Record<string, string | string[] | undefined>;
  body: AsyncIterable<Uint8Array> & { dump(): Promise<void> };
}

/** Connections that are made in one way. */
interface Pool {
  agent: UndiciAgent;
  bulk: BulkClient;
}

/** Keeps connections open: one pool for each way in which hosts are reached, and in it some for each host. */
export class Connections {
  readonly #stallMs: number;
  readonly #tls: () => Promise<TlsSettings> | undefined;
  #shared: { tls: Promise<TlsSettings> | undefined } | undefined;
  readonly #pools = new Map<TlsSettings | undefined, Map<string, Promise<Pool>>>();

  /**
   * @param stallMs a connection that gives no byte for this long is dropped
   * @param tls for hosts and proxies that have no settings of their own; asked for once, with the first connection
   */
  constructor(stallMs: number, tls: () => Promise<TlsSettings> | undefined) {
    this.#stallMs = stallMs;
    this.#tls = tls;
  }

  /** One answer; errors come as undici, Node.js or the tunnel throw them. */
  async request(url: URL, route: Route, request: OutgoingRequest): Promise<IncomingResponse> {
    const { proxy } = route;
    const { headers, answerMs } = request;
    const options: Omit<Dispatcher.RequestOptions, 'origin' | 'path'> = {
      method: request.method,
      // Without `reset` undici drops the connection after each HEAD, and the next request pays for a handshake.
      reset: false,
      headers,
      ...(request.body === undefined ? {} : { body: request.body as Uint8Array }),
      ...(request.signal === undefined ? {} : { signal: request.signal }),
      ...(answerMs === undefined ? {} : { headersTimeout: answerMs }),
    };
    if (!proxy || url.protocol === 'https:') {
      const { agent, bulk } = await this.#pool(route);
      const answer = request.bulk && !proxy ? await this.#getLarge(bulk, url, request) : undefined;
      return answer ?? agent.request({ ...options, origin: url.origin, path: `${url.pathname}${url.search}` });
    }
    // https://www.rfc-editor.org/rfc/rfc9112#name-absolute-form : many proxies open tunnels to HTTPS ports only.
    const { agent } = await this.#pool({ tls: undefined, proxy: undefined });
    const login = proxy.authorization === undefined ? {} : { 'proxy-authorization': proxy.authorization };
    return agent.request({
      ...options,
      headers: { ...headers, host: url.host, ...login },
      origin: proxy.url.origin,
      path: `${url.origin}${url.pathname}${url.search}`,
    });
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()].flatMap((byProxy) => [...byProxy.values()]);
    await Promise.all(
      pools.map(async (pool) => {
        const { agent, bulk } = await pool;
        bulk.close();
        await agent.destroy();
      }),
    );
  }

  async #getLarge(bulk: BulkClient, url: URL, request: OutgoingRequest): Promise<IncomingResponse | undefined> {
    const { method, headers, signal, answerMs = this.#stallMs } = request;
    const answer = method === 'GET' ? await bulk.get({ url, headers, signal, answerMs }) : undefined;
    return answer && asIncoming(answer);
  }

  async #pool({ tls, proxy }: Route): Promise<Pool> {
    const byProxy = this.#pools.get(tls) ?? new Map<string, Promise<Pool>>();
    this.#pools.set(tls, byProxy);
    const key = proxy?.url.origin ?? '';
    const pool = byProxy.get(key) ?? this.#open(tls, proxy);
    byProxy.set(key, pool);
    return pool;
  }

  /** Commands that send nothing do not wait for undici to load. */
  async #open(own: TlsSettings | undefined, proxy: Proxy | undefined): Promise<Pool> {
    const { Agent, buildConnector } = await import('./undici.ts');
    optimiseLater();
    const timeout = this.#stallMs;
    this.#shared ??= { tls: this.#tls() };
    const shared = await this.#shared.tls;
    const tls = own ?? shared;
    const settings = {
      timeout,
      ...(tls === undefined ? {} : { secureContext: tls.context, rejectUnauthorized: tls.verify }),
    };
    const direct = releasing(buildConnector(settings));
    const openTunnel = proxy && (await import('./tunnel.ts')).openTunnel;
    const connect: typeof direct = (target, callback) => {
      if (!proxy || !openTunnel) return direct(target, callback);
      const host = `${target.hostname.includes(':') ? `[${target.hostname}]` : target.hostname}:${target.port || 443}`;
      callbackify(openTunnel)(proxy, host, timeout, shared, (error: Error | null, httpSocket: Socket) => {
        if (error) callback(error, null);
        else direct({ ...target, httpSocket }, callback);
      });
      return undefined;
    };
    const agent = new Agent({
      allowH2: false,
      connections: 64,
      pipelining: 1,
      keepAliveTimeout: 30_000,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      connect,
    });
    const dial: Dial = (url, onread) => dialled(buildConnector({ ...settings, onread }), url);
    return { agent, bulk: new BulkClient(dial, timeout) };
  }
}

function asIncoming({ status, headers, body, discard }: BulkAnswer): IncomingResponse {
  return { statusCode: status, headers, body: Object.assign(body, { dump: discard }) };
}

function releasing(connect: BuildConnector.connector): BuildConnector.connector {
  return (options, done) =>
    connect(options, (...[error, socket]) => (error ? done(error, null) : done(null, releaseSent(socket))));
}

function dialled(connect: BuildConnector.connector, url: URL): ReturnType<Dial> {
  const { protocol, host, port } = url;
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve, reject) => {
    connect({ protocol, host, hostname, port }, (...[error, socket]) => (error ? reject(error) : resolve(socket)));
  });
}
