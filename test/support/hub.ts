import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  callerOf,
  INVALID_TOKEN,
  isVisible,
  missingRepo,
  missingRevision,
  refuse,
  refuseFiles,
  refuseMetadata,
  sendText,
  type Caller,
  type HubToken,
} from './hub-access.ts';
import { HubCdn, type CdnOptions } from './hub-cdn.ts';
import { redirect, sendRegular, sendResolve, type FileOptions } from './hub-files.ts';
import { isTrue, pathEntries, repoInfo, repoRefs, treeEntries } from './hub-info.ts';
import { RateLimiter, type HubLimits } from './hub-limits.ts';
import { HubRepo, type HubCommit, type RepoSpec, type RepoType } from './hub-repo.ts';
import { formatRoute, parseRoute, type HubRoute } from './hub-route.ts';
import { HubXet, type XetOptions } from './hub-xet.ts';
import { readBody, sendJson, TestServer, type ServerOptions } from './server.ts';

/** Switches of the test hub. */
export interface HubOptions extends ServerOptions, FileOptions {
  /** Tokens that exist; every other one is refused. */
  tokens?: Record<string, HubToken>;
  repos?: readonly RepoSpec[];
  /** Identities of CI jobs that are trusted publishers, with the resource of each and the token that it gets. */
  publishers?: Record<string, { resource: string; token: string }>;
  /** Entries on a page of a tree listing; default 1000, with `expand=true` 50. */
  pageSize?: number;
  /** Path below which all of it stands, as behind a repository manager: `/api/huggingfaceml/hub`. */
  base?: string;
  /** Requests before 429; default far above what a test sends. */
  limits?: HubLimits;
  cdn?: CdnOptions;
  xet?: XetOptions;
}

/** A running hub with its content network. */
export interface TestHub {
  readonly url: string;
  readonly server: TestServer;
  /** The second host, and the address under which redirects name it. */
  readonly cdn: TestServer;
  readonly cdnUrl: string;
  /** The third host, from which files of repos with `xet` can be had in chunks. */
  readonly xet: HubXet;
  readonly tokens: Record<string, HubToken>;
  /** Adds a repository, or a commit to one that exists. */
  addRepo(spec: RepoSpec): { commit: string };
  /** Makes every signed address that was handed out so far answer 403. */
  expireUrls(): void;
  /** Stops all servers; throws if one saw a request that it did not know. */
  close(): Promise<void>;
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  caller: Caller;
}

/** Known parameters of the GET routes: a client that sends another one asks for something that the hub here lacks. */
const QUERY: Record<HubRoute['action'], readonly string[] | undefined> = {
  info: ['expand', 'blobs', 'securityStatus'],
  tree: ['recursive', 'expand', 'cursor', 'limit'],
  refs: ['include_prs'],
  'paths-info': [],
  resolve: ['download', 'noContentDisposition'],
  'resolve-cache': undefined,
  'xet-read-token': [],
};

const fileActions = new Set<HubRoute['action']>(['resolve', 'resolve-cache']);

/** Starts a hub that answers as huggingface.co does, on two loopback ports. */
export async function startHub(options: HubOptions = {}): Promise<TestHub> {
  const cdn = await HubCdn.start(options.cdn);
  const xet = await HubXet.start(options.xet);
  const hub = new Hub(options, cdn, xet);
  const { base = '' } = options;
  const server = await TestServer.start((request, response, url) => {
    if (!url.pathname.startsWith(`${base}/`)) return false;
    return hub.handle(request, response, new URL(url.pathname.slice(base.length) + url.search, url));
  }, options);
  for (const spec of options.repos ?? []) hub.addRepo(spec);
  return {
    url: server.url + base,
    server,
    cdn: cdn.server,
    cdnUrl: cdn.url,
    xet,
    tokens: hub.tokens,
    addRepo: (spec) => hub.addRepo(spec),
    expireUrls: () => cdn.expire(),
    close: async () => {
      const results = await Promise.allSettled([server.close(), cdn.server.close(), xet.server.close()]);
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason;
    },
  };
}

class Hub {
  readonly tokens: Record<string, HubToken>;
  readonly #options: HubOptions;
  readonly #cdn: HubCdn;
  readonly #xet: HubXet;
  readonly #limiter: RateLimiter;
  readonly #repos: HubRepo[] = [];

  constructor(options: HubOptions, cdn: HubCdn, xet: HubXet) {
    this.#options = options;
    this.#cdn = cdn;
    this.#xet = xet;
    this.#limiter = new RateLimiter(options.limits);
    this.tokens = { ...options.tokens };
  }

  addRepo(spec: RepoSpec): { commit: string } {
    const type = spec.type ?? 'model';
    let repo = this.#repos.find((item) => item.type === type && item.id === spec.id);
    if (!repo) {
      repo = new HubRepo(spec);
      this.#repos.push(repo);
    }
    return { commit: repo.add(spec).id };
  }

  async handle(request: IncomingMessage, response: ServerResponse, url: URL): Promise<boolean> {
    const exchange: Exchange = { request, response, url, caller: callerOf(request, this.tokens) };
    response.setHeader('x-request-id', `Root=1-${Date.now().toString(16)}`);
    if (!this.#limiter.admit(response, url.pathname)) {
      request.resume();
      return sendText(response, 429, 'You have reached the rate limit of this window.');
    }
    if (url.pathname === '/api/agent-harnesses') return sendText(response, 404, 'Not Found');
    if (url.pathname === '/api/whoami-v2') return whoami(exchange);
    if (url.pathname === '/oauth/token' && request.method === 'POST') return this.#exchangeToken(exchange);
    const route = parseRoute(url.pathname);
    if (!route || !isKnown(route, request.method, url)) return false;
    return this.#answer(route, exchange);
  }

  async #answer(route: HubRoute, exchange: Exchange): Promise<boolean> {
    const { response, url, caller } = exchange;
    const isFile = fileActions.has(route.action);
    const as = isFile ? 'text' : 'json';
    const repo = this.#find(route.type, route.id);
    if (!repo || !isVisible(repo, caller)) return refuse(response, missingRepo(caller), as);
    if (repo.id !== route.id) return redirect(response, 307, formatRoute(route, repo.id) + url.search);
    const refusal =
      isFile || route.action === 'xet-read-token' ? refuseFiles(repo, caller) : refuseMetadata(repo, caller);
    if (refusal) return refuse(response, refusal, as);
    if (route.action === 'xet-read-token') return this.#sendXetToken(repo, route.revision, exchange);
    if (route.action === 'refs')
      return sendJson(response, 200, repoRefs(repo, isTrue(url.searchParams.get('include_prs'))));
    const commit = repo.resolve(route.revision === '' ? 'HEAD' : route.revision);
    if (!commit) return refuse(response, missingRevision(route.revision), as);
    if (isFile) return this.#sendFile(route, repo, commit, exchange);
    if (route.action === 'tree') return this.#sendTree(route, repo, commit, exchange);
    if (route.action === 'paths-info') return sendPaths(repo, commit, exchange);
    const info = repoInfo(repo, commit, url.searchParams);
    return typeof info === 'string' ? sendJson(response, 400, { error: info }) : sendJson(response, 200, info);
  }

  /** The repository of an id, a former id, or an id in another case. */
  #find(type: RepoType, id: string): HubRepo | undefined {
    const lower = id.toLowerCase();
    const repos = this.#repos.filter((repo) => repo.type === type);
    return (
      repos.find((repo) => repo.id === id) ??
      repos.find((repo) => repo.id.toLowerCase() === lower || repo.movedFrom.has(lower))
    );
  }

  #sendFile(route: HubRoute, repo: HubRepo, commit: HubCommit, { request, response }: Exchange): boolean {
    const file = commit.files.get(route.rest);
    if (!file) {
      const headers = { 'x-repo-commit': commit.id };
      return refuse(response, { status: 404, code: 'EntryNotFound', message: 'Entry not found', headers }, 'text');
    }
    const asked = { request, response, repo, commit, file };
    if (route.action === 'resolve')
      return sendResolve(
        asked,
        { cdn: this.#cdn, xet: this.#xet, url: `http://${request.headers.host}` },
        this.#options,
      );
    return file.lfs ? false : sendRegular(asked, this.#options);
  }

  /** RFC 8693 */
  async #exchangeToken({ request, response }: Exchange): Promise<boolean> {
    const asked = JSON.parse((await readBody(request)).toString()) as Record<string, string>;
    const publisher = this.#options.publishers?.[asked['subject_token'] ?? ''];
    const isRight =
      asked['grant_type'] === 'urn:ietf:params:oauth:grant-type:token-exchange' &&
      asked['subject_token_type'] === 'urn:ietf:params:oauth:token-type:id_token' &&
      publisher?.resource === asked['resource'];
    if (!publisher || !isRight) return sendJson(response, 400, { error: 'invalid_grant' });
    return sendJson(response, 200, { access_token: publisher.token, token_type: 'bearer', expires_in: 3600 });
  }

  #sendXetToken(repo: HubRepo, revision: string, { response }: Exchange): boolean {
    const commit = repo.resolve(revision);
    if (!commit) return refuse(response, missingRevision(revision), 'json');
    // Who has the hash from a listing need not ask for the file itself.
    for (const file of commit.files.values()) if (file.xetHash !== undefined) this.#xet.keep(file);
    const token = this.#xet.readToken();
    // @huggingface/hub reads the body, huggingface_hub the head.
    const headers = {
      'x-xet-cas-url': token.casUrl,
      'x-xet-access-token': token.accessToken,
      'x-xet-token-expiration': String(token.exp),
    };
    return sendJson(response, 200, token, headers);
  }

  #sendTree(route: HubRoute, repo: HubRepo, commit: HubCommit, { request, response, url }: Exchange): true {
    const recursive = isTrue(url.searchParams.get('recursive'));
    const expand = isTrue(url.searchParams.get('expand'));
    const entries = treeEntries(repo, commit, route.rest, { recursive, expand });
    if (!entries) {
      const message = `${route.rest} does not exist on "${route.revision}"`;
      const headers = { 'x-repo-commit': commit.id };
      return refuse(response, { status: 404, code: 'EntryNotFound', message, headers }, 'json');
    }
    const limit = Number(url.searchParams.get('limit') ?? Number.POSITIVE_INFINITY);
    const size = Math.min(limit, this.#options.pageSize ?? (expand ? 50 : 1000));
    const from = readCursor(url.searchParams.get('cursor'), commit);
    if (from === undefined) return sendJson(response, 400, { error: 'Invalid cursor' });
    const headers: Record<string, string> = {};
    if (from + size < entries.length) {
      const next = new URL(url.pathname + url.search, `http://${request.headers.host}`);
      next.searchParams.set('cursor', writeCursor(from + size, commit));
      headers['link'] = `<${next.href}>; rel="next"`;
    }
    return sendJson(response, 200, entries.slice(from, from + size), headers);
  }
}

function isKnown(route: HubRoute, method: string | undefined, url: URL): boolean {
  const isFile = fileActions.has(route.action);
  const wanted = route.action === 'paths-info' ? 'POST' : 'GET';
  if (method !== wanted && !(isFile && method === 'HEAD')) return false;
  const names = QUERY[route.action];
  return !names || [...url.searchParams.keys()].every((name) => names.includes(name));
}

function whoami({ request, response, caller }: Exchange): boolean {
  if (request.method !== 'GET') return false;
  if (caller.kind === 'invalid') return refuse(response, INVALID_TOKEN, 'json');
  if (caller.kind === 'anonymous') {
    return refuse(response, { status: 401, message: 'Invalid username or password.' }, 'json');
  }
  const name = caller.token.name ?? 'tester';
  const accessToken = { displayName: 'test', role: 'read', createdAt: '2025-01-01T00:00:00.000Z' };
  return sendJson(response, 200, {
    type: 'user',
    id: '650000000000000000000001',
    name,
    fullname: name,
    isPro: false,
    orgs: [],
    auth: { type: 'access_token', accessToken },
  });
}

async function sendPaths(repo: HubRepo, commit: HubCommit, { request, response }: Exchange): Promise<true> {
  const body = (await readBody(request)).toString();
  const asked = request.headers['content-type']?.startsWith('application/json') ? jsonPaths(body) : formPaths(body);
  if (!asked) return sendJson(response, 400, { error: '"paths" is required' });
  return sendJson(response, 200, pathEntries(repo, commit, asked.paths, asked.expand));
}

function jsonPaths(body: string): { paths: string[]; expand: boolean } | undefined {
  const { paths, expand } = JSON.parse(body) as { paths?: unknown; expand?: unknown };
  return Array.isArray(paths) ? { paths: paths.map(String), expand: isTrue(String(expand)) } : undefined;
}

function formPaths(body: string): { paths: string[]; expand: boolean } | undefined {
  const form = new URLSearchParams(body);
  const paths = form.getAll('paths');
  return paths.length > 0 ? { paths, expand: isTrue(form.get('expand')) } : undefined;
}

function writeCursor(offset: number, commit: HubCommit): string {
  return Buffer.from(`${commit.id}:${offset}`).toString('base64');
}

function readCursor(cursor: string | null, commit: HubCommit): number | undefined {
  if (cursor === null) return 0;
  const [id, offset] = Buffer.from(cursor, 'base64').toString().split(':');
  return id === commit.id && /^\d+$/.test(offset ?? '') ? Number(offset) : undefined;
}
