import { rootCertificates } from 'node:tls';
import type { Agent, Dispatcher, request as Request } from 'undici';
import { type ErrorPlace, isAbort, MirrorError } from '../core/errors.ts';
import { metadataLimit, readAll } from '../core/stream.ts';

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
}

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  url: URL;
  headers?: Record<string, string>;
  body?: Uint8Array | string | AsyncIterable<Uint8Array>;
  signal?: AbortSignal | undefined;
  /** Which side of the transfer this is, for errors. */
  at: ErrorPlace;
  /** GET and HEAD follow redirects unless this is false. */
  follow?: boolean;
  /** How long the headers of the answer may take; closing an upload makes a server work. */
  answerMs?: number;
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
  #loaded: Promise<{ agent: Agent; request: typeof Request }> | undefined;

  constructor(options: HttpClientOptions) {
    this.#options = options;
  }

  /** For how many milliseconds a connection may neither give nor take a byte. */
  get stallMs(): number {
    return this.#options.stallMs ?? 30_000;
  }

  /** `http` for hosts that the user named as insecure, else `https`. */
  schemeOf(host: string): 'http' | 'https' {
    const insecure = this.#options.insecureHosts ?? [];
    return insecure.includes(host) || insecure.includes(host.replace(/:\d+$/, '')) ? 'http' : 'https';
  }

  /**
   * One answer, whatever its status.
   * @throws E_NETWORK, E_TLS, E_PROTOCOL, E_ABORTED
   */
  async send(request: HttpRequest): Promise<HttpResponse> {
    let { url } = request;
    let headers: Record<string, string> = { 'user-agent': this.#options.userAgent, ...request.headers };
    const follow = request.follow !== false && (request.method === 'GET' || request.method === 'HEAD');
    for (let hop = 0; hop <= maxRedirects; hop += 1) {
      const response = await this.#once({ ...request, url, headers });
      const location = response.headers['location'];
      if (!follow || location === undefined || ![301, 302, 303, 307, 308].includes(response.status)) return response;
      await response.discard();
      const next = redirectTarget(url, location, request.at);
      if (next.origin !== url.origin) headers = withoutCredentials(headers);
      url = next;
    }
    throw new MirrorError('E_PROTOCOL', `more than ${maxRedirects} redirects`, {
      at: { ...request.at, url: redactUrl(request.url) },
    });
  }

  async close(): Promise<void> {
    await (await this.#loaded)?.agent.destroy();
  }

  async #once(request: HttpRequest): Promise<HttpResponse> {
    const at = { ...request.at, url: redactUrl(request.url) };
    try {
      const { agent, request: send } = await this.#load();
      // Without `reset` undici drops the connection after each HEAD, and the next request pays for a handshake.
      const options: Parameters<typeof send>[1] = { method: request.method, dispatcher: agent, reset: false };
      if (request.headers) options.headers = request.headers;
      if (request.body !== undefined) options.body = request.body as Dispatcher.DispatchOptions['body'] & Uint8Array;
      const signals = [request.signal, this.#options.signal].filter((signal) => signal !== undefined);
      if (signals.length > 0) options.signal = AbortSignal.any(signals);
      if (request.answerMs !== undefined) options.headersTimeout = request.answerMs;
      const response = await send(request.url, options);
      return wrap(response, request.url, at);
    } catch (error) {
      throw translate(error, at);
    }
  }

  /** Commands that send nothing do not wait for the client to load. */
  #load(): Promise<{ agent: Agent; request: typeof Request }> {
    this.#loaded ??= import('undici').then(({ Agent, request }) => {
      const { ca } = this.#options;
      const { stallMs } = this;
      const agent = new Agent({
        allowH2: false,
        connections: 64,
        pipelining: 1,
        keepAliveTimeout: 30_000,
        headersTimeout: stallMs,
        bodyTimeout: stallMs,
        connect: { timeout: stallMs, ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }) },
      });
      return { agent, request };
    });
    return this.#loaded;
  }
}

function wrap(response: Dispatcher.ResponseData<unknown>, url: URL, at: ErrorPlace): HttpResponse {
  const headers: HttpHeaders = {};
  for (const [name, value] of Object.entries(response.headers))
    headers[name] = Array.isArray(value) ? value.join(', ') : value;
  const body = translated(response.body, { ...at, url: redactUrl(url), status: response.statusCode });
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

async function* translated(body: AsyncIterable<Uint8Array>, at: ErrorPlace): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw translate(error, at);
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
  const linkLocal = /^(?:169\.254\.|\[fe80:)/i.test(to.hostname);
  if (linkLocal && to.hostname !== from.hostname)
    throw new MirrorError('E_PROTOCOL', `redirected to the link-local address \`${to.host}\``, { at: place });
  return to;
}

function withoutCredentials(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !/^(?:authorization|cookie|proxy-authorization)$/i.test(name)),
  );
}

const unreachable: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'unknown host',
  EAI_AGAIN: 'the name could not be looked up',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  ETIMEDOUT: 'timed out',
  UND_ERR_SOCKET: 'the connection was closed',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  UND_ERR_BODY_TIMEOUT: 'the answer stalled',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the answer ended early',
};

const untrusted = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** An error of undici, its sockets or TLS in our words. */
function translate(error: unknown, at: ErrorPlace): MirrorError {
  if (error instanceof MirrorError) return error;
  if (isAbort(error)) return new MirrorError('E_ABORTED', 'interrupted', { at, cause: error });
  const code = codeOf(error);
  const host = at.url === undefined ? 'the host' : `\`${new URL(at.url).host}\``;
  if (untrusted.has(code))
    return new MirrorError('E_TLS', `${host} has a certificate from an authority that is not trusted here`, {
      hint: 'name the authority with `--ca FILE` (PEM), or set NODE_EXTRA_CA_CERTS',
      at,
      cause: error,
    });
  if (code.startsWith('CERT_') || code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return new MirrorError('E_TLS', `the certificate of ${host} is not valid: ${code}`, { at, cause: error });
  if (code === 'EPROTO' || code.startsWith('ERR_SSL'))
    return new MirrorError('E_TLS', `${host} does not speak HTTPS`, {
      hint: `if it speaks plain HTTP: for a registry add \`--insecure-host ${at.url === undefined ? 'HOST:PORT' : new URL(at.url).host}\`, for another address write it with http://`,
      at,
      cause: error,
    });
  if (code.startsWith('HPE_'))
    return new MirrorError('E_PROTOCOL', `${host} does not speak HTTP`, { at, cause: error });
  const text = unreachable[code];
  if (text !== undefined)
    return new MirrorError('E_NETWORK', `${host}: ${text}`, {
      hint: 'check the address, and whether this machine may reach it',
      at,
      cause: error,
    });
  return new MirrorError('E_NETWORK', `${host}: ${error instanceof Error ? error.message : String(error)}`, {
    at,
    cause: error,
  });
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code === 'string' && code !== 'UND_ERR_SOCKET') return code;
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return codeOf(error.cause) || code || '';
}
