import { isIPv6 } from 'node:net';
import { type ErrorPlace, MirrorError } from '../core/errors.ts';
import { metadataLimit, readAll } from '../core/stream.ts';
import { maySend, type Reach, reachOf } from './address.ts';
import { connectionError, wantsHttps, wantsTls } from './connection-error.ts';
import { Connections, type IncomingResponse, type Route } from './connections.ts';
import type { TlsFinder } from './host-certificates.ts';
import { proxyRefusal, type ProxyRules } from './proxy.ts';
import { type TlsSettings, tlsSettings } from './tls.ts';

export interface HttpClientOptions {
  userAgent: string;
  /** PEM text of certificate authorities to trust beside the public ones. */
  ca?: string | undefined;
  /** Hosts (`name` or `name:port`) that may be spoken to by plain HTTP. */
  insecureHosts?: readonly string[];
  /** Ends every request of a run that is interrupted. */
  signal?: AbortSignal;
  /** A connection that gives no byte for this long is dropped. */
  stallMs?: number;
  /** Hosts with authorities or a client certificate of their own. */
  tlsOf?: TlsFinder;
  proxyOf?: ProxyRules;
  /** The addresses of a name; empty when there are none. */
  addressesOf?: (name: string) => Promise<string[]>;
}

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  url: URL;
  headers?: Record<string, string>;
  /** Chunks of an iterable are released once they are sent. */
  body?: Uint8Array | string | AsyncIterable<Uint8Array>;
  signal?: AbortSignal | undefined;
  /** Is sent although the run was stopped: for what cleans up. */
  outlivesStop?: boolean;
  /** Which side of the transfer this is, for errors. */
  at: ErrorPlace;
  /** GET and HEAD follow redirects unless this is false. */
  follow?: boolean;
  /** How long the headers of the answer may take; closing an upload makes a server work. */
  answerMs?: number;
  /** Much is expected of a GET: it takes the path that is made for large bodies. */
  bulk?: boolean;
  /** What only the host of `url` gets, not one that it redirects to: its settings for TLS instead of those that are found by its name, and headers. */
  own?: { tls?: TlsSettings | undefined; headers?: Record<string, string> } | undefined;
  /** Told of each request that is really sent, redirects included. */
  hops?: HttpHops;
}

/** Somebody who keeps account of requests, such as a rate limit. */
export interface HttpHops {
  before(url: URL): Promise<void>;
  after(response: HttpResponse): void;
}

export interface HttpResponse {
  status: number;
  headers: HttpHeaders;
  /** The address that answered in the end. */
  url: URL;
  body: AsyncIterable<Uint8Array>;
  /** The whole body, which must be small. */
  bytes(limit?: number): Promise<Buffer>;
  /** Lets the connection go. */
  discard(): Promise<void>;
}

/** Header values by lower-case name; repeated ones are joined as RFC 9110 section 5.3 says. */
export type HttpHeaders = Record<string, string | undefined>;

const maxRedirects = 10;

/** An address without credentials, query and fragment: signed URLs carry their signature in the query. */
export function redactUrl(url: URL | string): string {
  const parsed = new URL(url);
  return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
}

/**
 * HTTP/1.1 with redirects followed by hand: credentials never leave the origin that they were meant for, HTTPS never
 * falls back to HTTP, and each failure comes as a MirrorError that says where.
 */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #connections: Connections;

  constructor(options: HttpClientOptions) {
    const { ca, stallMs = 30_000 } = options;
    this.#options = options;
    this.#connections = new Connections(stallMs, () =>
      ca === undefined ? undefined : tlsSettings({ authorities: [{ path: '--ca', text: ca }] }),
    );
  }

  /** For how many milliseconds a connection may neither give nor take a byte. */
  get stallMs(): number {
    return this.#options.stallMs ?? 30_000;
  }

  /** `http` for hosts that the user named as insecure, else `https`. */
  schemeOf(host: string): 'http' | 'https' {
    const insecure = (this.#options.insecureHosts ?? []).map(spelt);
    const name = spelt(host);
    return insecure.includes(name) || insecure.includes(name.replace(/:\d+$/, '')) ? 'http' : 'https';
  }

  /**
   * One answer, whatever its status.
   * @throws E_NETWORK, E_TLS, E_PROTOCOL, E_ABORTED; E_AUTH from a proxy; E_USAGE for settings of the host that cannot be read
   */
  async send(request: HttpRequest): Promise<HttpResponse> {
    let { url, own } = request;
    let headers: Record<string, string> = { 'user-agent': this.#options.userAgent, ...request.headers };
    const follow = request.follow !== false && (request.method === 'GET' || request.method === 'HEAD');
    for (let hop = 0; hop <= maxRedirects; hop += 1) {
      await request.hops?.before(url);
      const response = await this.#once({ ...request, url, headers: { ...headers, ...own?.headers }, own });
      request.hops?.after(response);
      const location = response.headers['location'];
      if (!follow || location === undefined || ![301, 302, 303, 307, 308].includes(response.status)) return response;
      await response.discard();
      const next = redirectTarget(url, location, request.at);
      await this.checkReach(url, next, request.at);
      if (next.origin !== url.origin) {
        headers = withoutCredentials(headers);
        own = undefined;
      }
      url = next;
    }
    throw new MirrorError('E_PROTOCOL', `more than ${maxRedirects} redirects`, {
      at: { ...request.at, url: redactUrl(request.url) },
    });
  }

  /**
   * A server may send us to what lies as near as itself or farther, by its literal address: one on the internet not into
   * a private network, one in a private network not to this machine. A name counts as what it resolves to here, so a
   * registry inside may send us anywhere inside; a name that only a proxy can resolve counts as the internet. Where
   * the target is a name it may be anything: many sites resolve public names of their storage to private addresses.
   * @throws E_PROTOCOL
   */
  async checkReach(from: URL, to: URL, at: ErrorPlace): Promise<void> {
    const target = reachOf(to.hostname);
    if (target === undefined || to.hostname === from.hostname) return;
    const origin = reachOf(from.hostname) ?? (await this.#nearest(from.hostname));
    if (maySend(origin, target)) return;
    throw new MirrorError('E_PROTOCOL', `\`${from.host}\` sends us to the ${target} address \`${to.host}\``, {
      hint: `if \`${from.host}\` is inside your network, its name has to resolve to an address of that network here`,
      at: { ...at, url: redactUrl(from) },
    });
  }

  async close(): Promise<void> {
    await this.#connections.close();
  }

  async #nearest(name: string): Promise<Reach> {
    const { addressesOf = resolveName } = this.#options;
    const reaches = new Set((await addressesOf(name)).map(reachOf));
    // A name that resolves to link-local addresses gets no leave for others of them.
    return (['loopback', 'private'] as const).find((reach) => reaches.has(reach)) ?? 'public';
  }

  async #once(request: HttpRequest): Promise<HttpResponse> {
    const { url } = request;
    const at = { ...request.at, url: redactUrl(url) };
    const route = await this.#route(request);
    try {
      const stop = request.outlivesStop === true ? undefined : this.#options.signal;
      const signals = [request.signal, stop].filter((signal) => signal !== undefined);
      const response = await this.#connections.request(url, route, {
        method: request.method,
        headers: request.headers ?? {},
        body: request.body,
        signal: signals.length > 0 ? AbortSignal.any(signals) : undefined,
        answerMs: request.answerMs,
        bulk: request.bulk === true,
      });
      if (url.protocol === 'http:') await refuseWrongSpeaker(request.method, response, url, route, at);
      return wrap(response, url, route, at);
    } catch (error) {
      throw await connectionError(error, url, route, at);
    }
  }

  async #route({ url, own }: HttpRequest): Promise<Route> {
    const tls = url.protocol === 'https:' ? (own?.tls ?? (await this.#options.tlsOf?.(url.host))) : undefined;
    return { tls, proxy: this.#options.proxyOf?.(url) };
  }
}

async function resolveName(name: string): Promise<string[]> {
  const { lookup } = await import('node:dns/promises');
  try {
    return (await lookup(name, { all: true })).map(({ address }) => address);
  } catch {
    return [];
  }
}

/** @throws what a proxy, or a server that wants HTTPS, says to plain HTTP */
async function refuseWrongSpeaker(
  method: HttpRequest['method'],
  response: IncomingResponse,
  url: URL,
  route: Route,
  at: ErrorPlace,
): Promise<void> {
  const { statusCode, body } = response;
  if (route.proxy && statusCode === 407) {
    await body.dump();
    throw proxyRefusal(route.proxy, url.host, 407);
  }
  // Go's and nginx's servers say so in words, with this status.
  if (statusCode !== 400) return;
  // An answer to HEAD has no words.
  if (method === 'HEAD') {
    if (!route.proxy && (await wantsHttps(url))) throw wantsTls(url, at);
    return;
  }
  const bytes = await readAll(body, wordsLimit, redactUrl(url));
  if (/HTTP request .*to .*HTTPS (?:server|port)/i.test(bytes.toString('latin1'))) throw wantsTls(url, at);
  response.body = Object.assign(once(bytes), { dump: () => Promise.resolve() });
}

/** No server has more to say of a bad request. */
const wordsLimit = 1024 * 1024;

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

function wrap(response: IncomingResponse, url: URL, route: Route, at: ErrorPlace): HttpResponse {
  const headers: HttpHeaders = {};
  for (const [name, value] of Object.entries(response.headers))
    headers[name] = Array.isArray(value) ? value.join(', ') : value;
  const body = translated(response.body, url, route, { ...at, status: response.statusCode });
  return {
    status: response.statusCode,
    headers,
    url,
    body,
    bytes: (limit = metadataLimit) => readAll(body, limit, redactUrl(url)),
    discard: async () => {
      // A dropped answer is no failure of ours, however its connection ends.
      await response.body.dump().catch(() => {});
    },
  };
}

async function* translated(
  body: AsyncIterable<Uint8Array>,
  url: URL,
  route: Route,
  at: ErrorPlace,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw await connectionError(error, url, route, at);
  }
}

/**
 * Where a server sends us, by a redirect, an upload session or a next page.
 * @throws E_PROTOCOL for a target that no server has business sending us to
 */
export function redirectTarget(from: URL, location: string, at: ErrorPlace): URL {
  const place = { ...at, url: redactUrl(from) };
  const to = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  if (!to || (to.protocol !== 'https:' && to.protocol !== 'http:'))
    throw new MirrorError(
      'E_PROTOCOL',
      `redirected to an address that is not HTTP: \`${location.split('?')[0] ?? ''}\``,
      { at: place },
    );
  if (from.protocol === 'https:' && to.protocol === 'http:')
    throw new MirrorError('E_PROTOCOL', `redirected from HTTPS to plain HTTP: \`${redactUrl(to)}\``, { at: place });
  if (reachOf(to.hostname) === 'link-local' && to.hostname !== from.hostname)
    throw new MirrorError('E_PROTOCOL', `redirected to the link-local address \`${to.host}\``, { at: place });
  return to;
}

function withoutCredentials(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !/^(?:authorization|cookie|proxy-authorization)$/i.test(name)),
  );
}

/** A host, with a port or without, in one spelling: IPv6 has several, and is written without brackets where no port follows. */
function spelt(host: string): string {
  const [, address = '', port = ''] = /^(\[[^\]]*\])(:\d+)?$/.exec(isIPv6(host) ? `[${host}]` : host) ?? [];
  const url = `http://${address}`;
  return address !== '' && URL.canParse(url) ? `${new URL(url).hostname}${port}` : host.toLowerCase();
}
