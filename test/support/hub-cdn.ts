import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HubFile, HubRepo } from './hub-repo.ts';
import { sendBytes, TestServer, type ServerOptions } from './server.ts';

/** Switches of the content network. */
export interface CdnOptions extends ServerOptions {
  /** Where redirects say that it is, when something stands before it. */
  address?: () => string | undefined;
  /** Answers 200 with the whole body to a Range request, as some proxies do. */
  ignoreRange?: boolean;
}

/** As in a signed address; `expire` ends all of them. */
const expires = String(Math.floor(Date.now() / 1000) + 3600);

interface Grant {
  path: string;
  bytes: Uint8Array;
}

/** The second host: serves LFS files to whoever has a signed address, and to nobody who brings a token. */
export class HubCdn {
  readonly #grants: Map<string, Grant>;
  readonly #address: () => string | undefined;
  readonly url: string;
  readonly server: TestServer;

  private constructor(server: TestServer, grants: Map<string, Grant>, options: CdnOptions) {
    this.server = server;
    // huggingface_hub 1.x compares host names without ports, and would take a second port of 127.0.0.1 for the hub itself.
    this.url = server.url.replace('127.0.0.1', 'localhost');
    this.#grants = grants;
    this.#address = options.address ?? (() => undefined);
  }

  static async start(options: CdnOptions = {}): Promise<HubCdn> {
    const grants = new Map<string, Grant>();
    const server = await TestServer.start((request, response, url) => {
      // A token that reaches another host has leaked: that must fail the test, not pass as a 403.
      if (request.headers.authorization !== undefined) return false;
      if (request.method !== 'GET' && request.method !== 'HEAD') return false;
      const grant = grants.get(url.searchParams.get('Signature') ?? '');
      if (grant?.path !== url.pathname || url.searchParams.get('Expires') !== expires) {
        request.resume();
        response.writeHead(403, { 'content-type': 'text/xml' });
        response.end('<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>');
        return true;
      }
      // The tag is unrelated to the content, as on the real network: a client that trusts it must notice.
      const headers = { 'content-type': 'application/octet-stream', etag: `"${grant.path.length}-cdn"` };
      if (options.ignoreRange) return sendWhole(request, response, grant.bytes, headers);
      return sendBytes(request, response, grant.bytes, headers);
    }, options);
    return new HubCdn(server, grants, options);
  }

  /** A signed address for one file. */
  sign(repo: HubRepo, file: HubFile, method: string): string {
    const path = `/xet-bridge-us/${repo.type}-${encodeURIComponent(repo.id)}/${file.xetHash ?? file.lfs?.oid ?? file.oid}`;
    const signature = randomBytes(24).toString('base64url');
    this.#grants.set(signature, { path, bytes: file.bytes });
    const query = new URLSearchParams({
      'X-Xet-Cas-Uid': 'public',
      'response-content-disposition': `inline; filename*=UTF-8''${encodeURIComponent(file.path)};`,
      'x-id': method === 'HEAD' ? 'HeadObject' : 'GetObject',
      Expires: expires,
      Signature: signature,
      'Key-Pair-Id': 'TESTKEY',
    });
    return `${this.#address() ?? this.url}${path}?${query.toString()}`;
  }

  /** Makes every address that was handed out so far answer 403. */
  expire(): void {
    this.#grants.clear();
  }
}

function sendWhole(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Uint8Array,
  headers: Record<string, string>,
): true {
  response.writeHead(200, { 'content-length': String(bytes.length), ...headers });
  response.end(request.method === 'HEAD' ? undefined : bytes);
  return true;
}
