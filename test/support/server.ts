import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions as TlsOptions } from 'node:https';
import type { AddressInfo } from 'node:net';

/** What one request did: tests assert on counts, order and on where credentials went. */
export interface RequestRecord {
  method: string;
  /** Path with query, as it stood on the wire. */
  path: string;
  headers: IncomingMessage['headers'];
  status: number;
  /** Bytes of body that the server sent. */
  sent: number;
}

/** Damage done to one response. Offsets count body bytes. */
export type Fault =
  | { kind: 'reset'; after: number }
  | { kind: 'stall'; after: number }
  | { kind: 'truncate'; after: number }
  | { kind: 'flip'; at: number }
  /** The connection is cut when so many bytes of the request's body have come. */
  | { kind: 'cut'; after: number }
  /** What was asked for is done, and the connection is cut before the first byte of the answer. */
  | { kind: 'lost' }
  | { kind: 'status'; status: number; headers?: Record<string, string>; body?: string };

/** Chooses the damage for a request; undefined lets it pass unharmed. */
export type FaultPlan = (request: {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
}) => Fault | undefined;

export interface ServerOptions {
  faults?: FaultPlan;
  /** Milliseconds that every request waits before it is answered: a round trip. */
  latencyMs?: number;
  port?: number;
  /** Speaks HTTPS: see `serverTls`. */
  tls?: TlsOptions;
}

/** A handler returns false for a request that it does not know; such a request fails the test at `close`. */
export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<boolean> | boolean;

/** A strict server on a loopback port: it logs every request and remembers those that nobody knew. */
export class TestServer {
  readonly requests: RequestRecord[] = [];
  readonly unexpected: string[] = [];
  faults: FaultPlan | undefined;
  /** Holds an answer back until something else has happened. */
  gate: ((request: { method: string; path: string }) => Promise<void> | undefined) | undefined;
  latencyMs: number;
  readonly #server: Server;
  readonly #scheme: 'http' | 'https';

  private constructor(server: Server, options: ServerOptions) {
    this.#server = server;
    this.#scheme = options.tls === undefined ? 'http' : 'https';
    this.faults = options.faults;
    this.latencyMs = options.latencyMs ?? 0;
  }

  static async start(handler: Handler, options: ServerOptions = {}): Promise<TestServer> {
    const server = options.tls === undefined ? createServer() : createTlsServer(options.tls);
    const self = new TestServer(server, options);
    server.on('request', (request, response) => void self.#serve(handler, request, response));
    await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
    return self;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `${this.#scheme}://${this.host}`;
  }

  /** Requests whose "METHOD path" matches. */
  count(pattern: RegExp): number {
    return this.requests.filter((record) => pattern.test(`${record.method} ${record.path}`)).length;
  }

  /** Stops at once, open connections included; throws if a request came that the server did not know. */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    if (this.unexpected.length > 0) throw new Error(`unexpected requests: ${this.unexpected.join(', ')}`);
  }

  async #serve(handler: Handler, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const method = request.method ?? 'GET';
    const record: RequestRecord = { method, path, headers: request.headers, status: 0, sent: 0 };
    this.requests.push(record);
    request.on('error', () => {});
    response.on('error', () => {});
    const fault = this.faults?.({ method, path, headers: request.headers });
    countBytes(response, record);
    await this.gate?.({ method, path });
    if (this.latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, this.latencyMs));
    try {
      if (fault?.kind === 'cut') {
        cutRequest(request, fault.after);
        return;
      }
      if (fault?.kind === 'status') {
        request.resume();
        response.writeHead(fault.status, fault.headers).end(fault.body ?? '');
      } else {
        if (fault) damage(response, fault);
        const known = await handler(request, response, new URL(path, this.url));
        if (!known) {
          this.unexpected.push(`${method} ${path}`);
          request.resume();
          response.writeHead(501, { 'content-type': 'text/plain' }).end(`unknown request: ${method} ${path}\n`);
        }
      }
    } catch (error) {
      if (!response.headersSent) response.writeHead(500).end(String(error));
      else response.destroy();
    }
    record.status = response.statusCode;
  }
}

/** The whole body of a request. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): true {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  });
  response.end(body);
  return true;
}

/** Sends bytes with single-range support (RFC 9110 section 14: one that ends before it begins is none), HEAD included. */
export function sendBytes(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Uint8Array,
  headers: Record<string, string> = {},
): true {
  const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const range = asked?.[2] && Number(asked[2]) < Number(asked[1]) ? null : asked;
  let from = 0;
  let to = bytes.length;
  let status = 200;
  const extra: Record<string, string> = { 'accept-ranges': 'bytes' };
  if (range && request.method === 'GET') {
    from = Number(range[1]);
    to = range[2] ? Math.min(Number(range[2]) + 1, bytes.length) : bytes.length;
    if (from >= bytes.length) {
      response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
      return true;
    }
    status = 206;
    extra['content-range'] = `bytes ${from}-${to - 1}/${bytes.length}`;
  }
  response.writeHead(status, { 'content-length': String(to - from), ...extra, ...headers });
  if (request.method === 'HEAD') response.end();
  else response.end(bytes.subarray(from, to));
  return true;
}

function countBytes(response: ServerResponse, record: RequestRecord): void {
  const write = response.write.bind(response) as (chunk: unknown, ...rest: unknown[]) => boolean;
  const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
  const count = (chunk: unknown): void => {
    if (typeof chunk === 'string' || chunk instanceof Uint8Array) record.sent += Buffer.byteLength(chunk);
  };
  response.write = ((chunk: unknown, ...rest: unknown[]) => {
    count(chunk);
    return write(chunk, ...rest);
  }) as typeof response.write;
  response.end = ((...args: unknown[]) => {
    count(args[0]);
    record.status = response.statusCode;
    return end(...args);
  }) as typeof response.end;
}

function cutRequest(request: IncomingMessage, after: number): void {
  let seen = 0;
  request.on('data', (chunk: Buffer) => {
    seen += chunk.length;
    if (seen >= after) request.socket.resetAndDestroy();
  });
}

function lose(response: ServerResponse): void {
  response.write = (() => true) as typeof response.write;
  response.end = (() => {
    response.socket?.resetAndDestroy();
    return response;
  }) as typeof response.end;
}

/** Rewrites what goes out on the wire; the response's headers stay as the handler meant them. */
function damage(response: ServerResponse, fault: Exclude<Fault, { kind: 'status' | 'cut' }>): void {
  if (fault.kind === 'lost') {
    lose(response);
    return;
  }
  const write = response.write.bind(response) as (chunk: Uint8Array) => boolean;
  const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
  let position = 0;
  let broken = false;
  const pass = (chunk: unknown): boolean => {
    if (broken) return true;
    const bytes = Buffer.from(chunk as Uint8Array | string);
    const start = position;
    position += bytes.length;
    if (fault.kind === 'flip') {
      if (fault.at >= start && fault.at < position) bytes[fault.at - start] = (bytes[fault.at - start] ?? 0) ^ 1;
      return write(bytes);
    }
    if (position <= fault.after) return write(bytes);
    broken = true;
    write(bytes.subarray(0, fault.after - start));
    // The bytes before the break must have left, or the client sees a break at another place than the test asked for.
    setTimeout(() => {
      if (fault.kind === 'reset') response.socket?.resetAndDestroy();
      if (fault.kind === 'truncate') response.socket?.end();
    }, 20);
    return true;
  };
  response.write = ((chunk: unknown, ...rest: unknown[]) => {
    const result = pass(chunk);
    const done = rest.find((item) => typeof item === 'function') as (() => void) | undefined;
    done?.();
    return result;
  }) as typeof response.write;
  response.end = ((chunk?: unknown) => {
    if (typeof chunk === 'string' || chunk instanceof Uint8Array) pass(chunk);
    return broken ? response : end();
  }) as typeof response.end;
}
