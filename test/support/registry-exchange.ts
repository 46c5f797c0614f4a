import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBody } from './server.ts';

/** Codes of the distribution specification, and those that products add. */
export type RegistryErrorCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'CONFLICT'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'PAGINATION_NUMBER_INVALID'
  | 'PRECONDITION'
  | 'RANGE_INVALID'
  | 'SIZE_INVALID'
  | 'TAG_INVALID'
  | 'UNAUTHORIZED'
  | 'UNKNOWN'
  | 'UNSUPPORTED';

export interface RegistryError {
  code: RegistryErrorCode;
  message: string;
  detail?: unknown;
}

/** One request and its answer, with the ways in which a registry answers. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly method: string;
  /** The body, once something has read all of it ahead of its time. */
  #ahead: Buffer | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, url: URL) {
    this.request = request;
    this.response = response;
    this.url = url;
    this.method = request.method ?? 'GET';
  }

  /** The registry as this client names it: a proxy in between keeps being used. */
  get base(): string {
    return `${this.url.protocol}//${this.request.headers.host ?? this.url.host}`;
  }

  get reads(): boolean {
    return this.method === 'GET' || this.method === 'HEAD';
  }

  /** The state of an upload as it stands on the wire, not decoded. */
  get rawState(): string | undefined {
    return /[?&]_state=([^&]*)/.exec(this.url.search)?.[1];
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** Reads the whole body before anything looks at the request, as some proxies do. */
  async readAhead(): Promise<void> {
    this.#ahead = await readBody(this.request);
  }

  /** The body as it comes. */
  async *body(): AsyncGenerator<Buffer> {
    if (this.#ahead) yield this.#ahead;
    else yield* this.request as AsyncIterable<Buffer>;
  }

  async bytes(): Promise<Buffer> {
    return this.#ahead ?? readBody(this.request);
  }

  /** Answers without a body. */
  empty(status: number, headers: Record<string, string> = {}): true {
    this.request.resume();
    const length: Record<string, string> = status === 204 ? {} : { 'content-length': '0' };
    this.response.writeHead(status, { ...length, ...headers }).end();
    return true;
  }

  /** Answers with a body, which HEAD leaves out. */
  send(status: number, contentType: string, body: Uint8Array | string, headers: Record<string, string> = {}): true {
    this.request.resume();
    const length = String(Buffer.byteLength(body));
    this.response.writeHead(status, { 'content-type': contentType, 'content-length': length, ...headers });
    this.response.end(this.method === 'HEAD' ? undefined : body);
    return true;
  }

  json(status: number, value: unknown, headers: Record<string, string> = {}): true {
    return this.send(status, 'application/json', JSON.stringify(value), headers);
  }

  /** Refuses; what remains of the request's body is read and dropped. */
  refuse(status: number, error: RegistryError | RegistryError[], headers: Record<string, string> = {}): true {
    return this.json(status, { errors: [error].flat() }, headers);
  }
}
