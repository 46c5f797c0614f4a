import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HubFile } from './hub-repo.ts';
import { sendBytes, sendJson, TestServer, type ServerOptions } from './server.ts';

/** Bytes of a file in a chunk: the real ones vary. */
const chunkBytes = 64 * 1024;

export interface XetOptions extends ServerOptions {
  /** Real ones have up to 1024; default 8. */
  chunksInXorb?: number;
}

interface Kept {
  size: number;
  xorbs: { hash: string; bytes: Uint8Array; chunks: number }[];
}

/**
 * The third host: gives files as chunks in xorbs, and says how to put them together.
 * https://huggingface.co/docs/xet/en/download-protocol
 */
export class HubXet {
  readonly server: TestServer;
  readonly #jwt = randomBytes(12).toString('hex');
  readonly #files = new Map<string, Kept>();
  readonly #grants = new Map<string, Uint8Array>();

  readonly #chunksInXorb: number;

  private constructor(server: TestServer, options: XetOptions) {
    this.server = server;
    this.#chunksInXorb = options.chunksInXorb ?? 8;
  }

  static async start(options: XetOptions = {}): Promise<HubXet> {
    let self: HubXet | undefined;
    const server = await TestServer.start((...exchange) => self?.handle(...exchange) ?? false, options);
    self = new HubXet(server, options);
    return self;
  }

  /** What the hub answers at `xet-read-token`. */
  readToken(): { accessToken: string; casUrl: string; exp: number } {
    return { accessToken: this.#jwt, casUrl: this.server.url, exp: Math.floor(Date.now() / 1000) + 3600 };
  }

  /** Where the hub says that a file's reconstruction is: the older address, as the real one does. */
  keep({ xetHash = '', bytes }: HubFile): string {
    if (!this.#files.has(xetHash))
      this.#files.set(xetHash, { size: bytes.length, xorbs: xorbsOf(bytes, this.#chunksInXorb) });
    return `${this.server.url}/v1/reconstructions/${xetHash}`;
  }

  handle(request: IncomingMessage, response: ServerResponse, url: URL): boolean {
    if (request.method !== 'GET') return false;
    const [, hash] = /^\/v2\/reconstructions\/([0-9a-f]+)$/.exec(url.pathname) ?? [];
    const file = this.#files.get(hash ?? '');
    // A token of the hub that reaches another host has leaked, and so has the one for this host that reaches the xorbs.
    if (file)
      return request.headers.authorization === `Bearer ${this.#jwt}` && this.#reconstruct(file, request, response);
    if (!url.pathname.startsWith('/xorbs/') || request.headers.authorization !== undefined) return false;
    const bytes = this.#grants.get(url.searchParams.get('X-Xet-Signature') ?? '');
    if (bytes) return sendBytes(request, response, bytes);
    return sendJson(response, 403, { error: 'expired' });
  }

  /** Makes every address that was handed out so far answer 403. */
  expire(): void {
    this.#grants.clear();
  }

  #reconstruct({ size, xorbs }: Kept, request: IncomingMessage, response: ServerResponse): boolean {
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (!range) return false;
    const [from, to] = [Number(range[1]), Math.min(Number(range[2]) + 1, size)];
    const xorbBytes = chunkBytes * this.#chunksInXorb;
    const terms: unknown[] = [];
    const urls: Record<string, unknown[]> = {};
    for (const [index, { hash, bytes, chunks }] of xorbs.entries()) {
      const start = Math.max(0, Math.floor((from - index * xorbBytes) / chunkBytes));
      const end = Math.min(chunks, Math.ceil((to - index * xorbBytes) / chunkBytes));
      if (start >= end) continue;
      const unpacked = Math.min(index * xorbBytes + end * chunkBytes, size) - (index * xorbBytes + start * chunkBytes);
      terms.push({ hash, unpacked_length: unpacked, range: { start, end } });
      const signature = randomBytes(9).toString('base64url');
      this.#grants.set(signature, bytes);
      const first = start * (chunkBytes + 8);
      const last = Math.min(end * (chunkBytes + 8), bytes.length) - 1;
      urls[hash] = [
        {
          url: `${this.server.url}/xorbs/${hash}?X-Xet-Signature=${signature}`,
          ranges: [{ chunks: { start, end }, bytes: { start: first, end: last } }],
        },
      ];
    }
    return sendJson(response, 200, { terms, xorbs: urls, offset_into_first_range: from % chunkBytes });
  }
}

/** Each chunk has a header of eight bytes: version, packed length, scheme (0: not packed), length. */
function xorbsOf(bytes: Uint8Array, chunksInXorb: number): Kept['xorbs'] {
  const xorbs: Kept['xorbs'] = [];
  for (let from = 0; from < bytes.length; from += chunkBytes * chunksInXorb) {
    const parts: Uint8Array[] = [];
    const end = Math.min(from + chunkBytes * chunksInXorb, bytes.length);
    for (let at = from; at < end; at += chunkBytes) {
      const chunk = bytes.subarray(at, Math.min(at + chunkBytes, end));
      const header = Buffer.alloc(8);
      header.writeUIntLE(chunk.length, 1, 3);
      header.writeUIntLE(chunk.length, 5, 3);
      parts.push(header, chunk);
    }
    const xorb = Buffer.concat(parts);
    xorbs.push({ hash: createHash('sha256').update(xorb).digest('hex'), bytes: xorb, chunks: parts.length / 2 });
  }
  return xorbs;
}
