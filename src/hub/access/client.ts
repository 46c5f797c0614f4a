import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import type { Content } from '../../core/ports.ts';
import { bulkBytes } from '../../http/bulk.ts';
import { type HttpClient, type HttpHops, type HttpResponse, redactUrl, redirectTarget } from '../../http/client.ts';
import { retryAfter } from '../../http/failure.ts';
import { openPart, openRange } from '../../http/range.ts';
import { resuming, type RetryOptions, retrying } from '../../http/retry.ts';
import { decoded } from './decoded.ts';
import { type HubFailure, hubFailure } from './failure.ts';
import { readFiles, readInfo } from './listing.ts';
import { Pace } from './pace.ts';
import { pageOf, type RepoFile, type RepoInfo, type RepoName, type RepoRequest } from '../repo.ts';
import { plainLimit, xetContent } from './xet.ts';

export const defaultEndpoint = 'https://huggingface.co';

export interface HubOptions {
  endpoint: string;
  /** Asked for each request. */
  token: () => Promise<string | undefined>;
  retry: RetryOptions;
  /** Told when everybody has to wait for the rate limit. */
  onWait?: (ms: number) => void;
  /** Bytes of the largest file that is asked for by plain HTTP. */
  plainLimit?: number;
}

const maxPages = 2000;

/** Two listing calls a repo, then one GET a file: the listing has sizes and hashes, so no HEAD is needed. */
export class HubClient {
  readonly #http: HttpClient;
  readonly #options: HubOptions;
  readonly #origin: string;
  readonly #retry: RetryOptions;
  readonly #pace: Pace;

  constructor(http: HttpClient, options: HubOptions) {
    const { retry, endpoint, onWait } = options;
    this.#http = http;
    this.#options = options;
    this.#origin = new URL(endpoint).origin;
    this.#pace = new Pace({ maxWaitMs: retry.maxWaitMs, onWait });
    // Everybody waits for the same limit: the pace says that once, and not each request for itself.
    const onRetry = (error: MirrorError, pauseMs: number): void => {
      if (error.code !== 'E_RATE_LIMIT' || error.retryAfterMs === undefined) retry.onRetry?.(error, pauseMs);
    };
    this.#retry = { ...retry, onRetry };
  }

  /** @throws E_NOT_FOUND, E_GATED, E_AUTH */
  async info(request: RepoRequest): Promise<RepoInfo> {
    const item = `${request.repo}@${request.revision}`;
    return readInfo(request, { endpoint: this.#options.endpoint, fetch: this.#fetch(request, item) });
  }

  /** Names are not checked yet. @throws E_CORRUPT for names that cannot stand side by side */
  async files(name: RepoName, commit: string): Promise<RepoFile[]> {
    const fetch = this.#fetch(name, `${name.repo}@${commit}`);
    return readFiles(name, commit, { endpoint: this.#options.endpoint, fetch });
  }

  /** The bytes of a file, unverified; the redirect to the content network is asked for anew at each opening, as it expires. */
  content(name: RepoName, commit: string, file: RepoFile): Content {
    const item = `${name.repo}/${file.path}`;
    const at: ErrorPlace = { side: 'source', item };
    const send = async (range: Record<string, string>, bulk: boolean, signal?: AbortSignal): Promise<HttpResponse> => {
      const response = await this.#get(this.#resolveUrl(name, commit, file), range, at, { signal, bulk });
      if (response.status === 416) throw await tooShort(response, file, at);
      if (response.status >= 400) throw (await this.#failure(response, name, item)).error;
      if (isOtherPage(response, file)) throw await otherPage(response, at);
      return decoded(response, file.size, at);
    };
    const plain: Content = {
      size: file.size,
      open: (offset, signal, end = file.size) => {
        const bulk = end - offset >= bulkBytes;
        return openRange((range) => send(range, bulk, signal), offset, file.size, at, end);
      },
    };
    if (!this.isByXet(file)) return resuming(plain, this.#retry);
    const fetch = (signal?: AbortSignal): typeof globalThis.fetch => this.#xetFetch(name, at, signal);
    return resuming(xetContent(name, commit, file, plain, { endpoint: this.#options.endpoint, fetch }), this.#retry);
  }

  /** Whether a file is too large to be had by plain HTTP, and so in ranges side by side. */
  isByXet({ size }: RepoFile): boolean {
    return size > (this.#options.plainLimit ?? plainLimit);
  }

  /**
   * Parts of a big file, to be read side by side: the hub is asked once where its bytes are, and again when that address
   * has expired. A server that ignores ranges makes E_PROTOCOL.
   */
  parts(name: RepoName, commit: string, file: RepoFile): (from: number, to: number) => Content {
    const item = `${name.repo}/${file.path}`;
    const at: ErrorPlace = { side: 'source', item };
    let address: Promise<URL> | undefined;
    const forget = (): void => {
      address = undefined;
    };
    const send = async (range: Record<string, string>, signal?: AbortSignal): Promise<HttpResponse> => {
      address ??= this.#locate(this.#resolveUrl(name, commit, file), name, item);
      const known = address;
      try {
        const url = await known;
        const headers = { ...range, 'accept-encoding': 'identity' };
        const response =
          url.origin === this.#origin
            ? await this.#get(url, range, at, { signal, bulk: true })
            : await this.#http.send({ method: 'GET', url, headers, at, signal, bulk: true });
        if (response.status === 416) throw await tooShort(response, file, at);
        if (response.status >= 400) throw (await this.#failure(response, name, item)).error;
        return response;
      } catch (error) {
        if (address === known) forget();
        throw error;
      }
    };
    return (from, to) => {
      const open: Content['open'] = (offset, signal) => openPart((range) => send(range, signal), from + offset, to, at);
      return resuming({ size: to - from, open }, this.#retry);
    };
  }

  /** Where the bytes of a file are: on the content network, or on the hub itself. */
  async #locate(url: URL, name: RepoName, item: string): Promise<URL> {
    const at: ErrorPlace = { side: 'source', item };
    const response = await this.#get(url, { range: 'bytes=0-0' }, at, { follow: false });
    if (response.status >= 400) throw (await this.#failure(response, name, item)).error;
    await response.discard();
    const { location } = response.headers;
    return location === undefined ? url : redirectTarget(url, location, at);
  }

  /**
   * Why the files of a gated repo may not be read, whose listing is open to everybody. One request, no content.
   * @returns undefined when they may be
   */
  async probe(name: RepoName, commit: string, file: RepoFile): Promise<HubFailure | undefined> {
    const at: ErrorPlace = { side: 'source', item: name.repo };
    return retrying(async () => {
      const range: Record<string, string> = file.size > 0 ? { range: 'bytes=0-0' } : {};
      const response = await this.#get(this.#resolveUrl(name, commit, file), range, at, { follow: false });
      if (response.status < 400) {
        await response.discard();
        return undefined;
      }
      const failure = await this.#failure(response, name, name.repo);
      if (failure.error.retryable) throw failure.error;
      return failure;
    }, this.#retry);
  }

  #resolveUrl(name: RepoName, commit: string, file: RepoFile): URL {
    const path = file.path.split('/').map(encodeURIComponent).join('/');
    return new URL(`${this.#options.endpoint}/${pageOf(name)}/resolve/${commit}/${path}`);
  }

  async #get(
    url: URL,
    range: Record<string, string>,
    at: ErrorPlace,
    options: { follow?: boolean; bulk?: boolean; signal?: AbortSignal | undefined },
  ): Promise<HttpResponse> {
    const headers = { ...(await this.#authorization()), ...range, 'accept-encoding': 'identity' };
    return this.#http.send({ method: 'GET', url, headers, at, hops: this.#hops(options.signal), ...options });
  }

  async #failure(response: HttpResponse, name: RepoName, item: string): Promise<HubFailure> {
    const token = await this.#options.token();
    return hubFailure(response, { item, name, endpoint: this.#options.endpoint, token });
  }

  async #authorization(): Promise<Record<string, string>> {
    const token = await this.#options.token();
    return token === undefined ? {} : { authorization: `Bearer ${token}` };
  }

  /** The content network has no limit of its own, and its answers say nothing of the hub's. */
  #hops(signal = this.#retry.signal): HttpHops {
    return {
      before: async (url) => {
        if (url.origin === this.#origin) await this.#pace.turn(bucketOf(url), signal);
      },
      after: (response) => {
        if (response.url.origin !== this.#origin) return;
        const refusedMs = response.status === 429 ? retryAfter(response) : undefined;
        this.#pace.read(bucketOf(response.url), response.headers, refusedMs);
      },
    };
  }

  /** What @huggingface/hub calls instead of the global fetch: our connections, our token rules, our errors. */
  #fetch(name: RepoName, item: string): typeof fetch {
    let pages = 0;
    return async (input, init) => {
      pages += 1;
      if (pages > maxPages)
        throw new MirrorError('E_PROTOCOL', `the hub lists \`${item}\` on more than ${maxPages} pages`, {
          at: { side: 'source', item },
        });
      const url = new URL(input instanceof Request ? input.url : input);
      const accept = new Headers(init?.headers).get('accept') ?? 'application/json';
      return retrying(() => this.#listing(url, accept, name, item), this.#retry);
    };
  }

  /**
   * The same for what it calls to read a file by Xet. A refused address that was signed goes to the library as it is, which
   * then asks for another.
   */
  #xetFetch(name: RepoName, at: ErrorPlace, signal?: AbortSignal): typeof fetch {
    const item = at.item ?? name.repo;
    const hub = new URL(this.#options.endpoint);
    return async (input, init) => {
      // The hub names the other hosts, so they are held to what a redirect is held to.
      const url = redirectTarget(hub, new URL(input instanceof Request ? input.url : input).href, at);
      await this.#http.checkReach(hub, url, at);
      const given = Object.fromEntries(new Headers(init?.headers));
      const own =
        url.origin === this.#origin && given['authorization'] === undefined ? await this.#authorization() : {};
      const headers = { ...given, ...own, 'accept-encoding': 'identity' };
      return retrying(
        async () => {
          const hops = this.#hops(signal);
          const response = await this.#http.send({ method: 'GET', url, headers, at, hops, signal });
          const isRefused = response.status === 403 && response.url.origin !== this.#origin;
          if (response.status >= 400 && !isRefused) throw (await this.#failure(response, name, item)).error;
          return asWebResponse(response);
        },
        this.#retry,
        signal,
      );
    };
  }

  async #listing(url: URL, accept: string, name: RepoName, item: string): Promise<Response> {
    const at: ErrorPlace = { side: 'source', item };
    const headers = url.origin === this.#origin ? { accept, ...(await this.#authorization()) } : { accept };
    const response = await this.#http.send({ method: 'GET', url, headers, at, hops: this.#hops() });
    if (response.status !== 200) throw (await this.#failure(response, name, item)).error;
    const type = response.headers['content-type'] ?? '';
    if (!type.startsWith('application/json')) {
      await response.discard();
      throw new MirrorError('E_PROTOCOL', `\`${url.host}\` answered with \`${type}\` where a hub answers with JSON`, {
        hint: 'check HF_ENDPOINT, and whether a proxy asks for a login',
        at: { ...at, url: redactUrl(response.url), status: response.status },
      });
    }
    const link = response.headers['link'];
    const body = await response.bytes(256 * 1024 * 1024);
    return new Response(new Uint8Array(body), {
      headers: { 'content-type': type, ...(link === undefined ? {} : { link }) },
    });
  }
}

function asWebResponse({ status, headers, body }: HttpResponse): Response {
  const given = Object.entries(headers).flatMap(([key, value]): [string, string][] =>
    value === undefined ? [] : [[key, value]],
  );
  return new Response(ReadableStream.from(body), { status, headers: given });
}

/** The hub counts API calls and files apart: https://huggingface.co/docs/hub/rate-limits */
function bucketOf({ pathname }: URL): string {
  return /^\/api\/(?!resolve-cache\/)/.test(pathname) ? 'api' : 'resolvers';
}

/** A login, or an excuse, where a file of another length was wanted. */
function isOtherPage({ headers, status }: HttpResponse, { path, size }: RepoFile): boolean {
  if (status !== 200 || headers['content-type']?.startsWith('text/html') !== true) return false;
  const length = headers['content-length'];
  return length === undefined ? !/\.html?$/i.test(path) : Number(length) !== size;
}

async function otherPage(response: HttpResponse, at: ErrorPlace): Promise<MirrorError> {
  await response.discard();
  return new MirrorError(
    'E_SIZE_MISMATCH',
    `\`${response.url.host}\` answers with a page of HTML instead of \`${at.item ?? ''}\``,
    {
      hint: 'check HF_ENDPOINT, and whether a proxy asks for a login',
      at: { ...at, url: redactUrl(response.url), status: response.status },
    },
  );
}

/** Asked for bytes that are not there: the file is shorter than what is here of it already. */
async function tooShort(response: HttpResponse, file: RepoFile, at: ErrorPlace): Promise<MirrorError> {
  await response.discard();
  return new MirrorError(
    'E_SIZE_MISMATCH',
    `\`${at.item ?? ''}\` is shorter there than the ${file.size} bytes announced`,
    {
      at: { ...at, url: redactUrl(response.url), status: response.status },
    },
  );
}
