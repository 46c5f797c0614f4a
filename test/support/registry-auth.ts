import { randomUUID } from 'node:crypto';
import type { Exchange } from './registry-exchange.ts';

export type RegistryAuthOptions =
  | { kind: 'basic'; user: string; password: string }
  | {
      kind: 'bearer';
      /** Without a user anybody gets a token for anything. */
      user?: string;
      password?: string;
      /** Taken by `POST /token` as an identity token; without it that answers 404, as many registries do. */
      refreshToken?: string;
      /** Default 300. */
      tokenLifeSeconds?: number;
      /** Whether a token for pulling needs no user. */
      pullAnonymous?: boolean;
      /** Repositories that nobody may have a token for. */
      denied?: readonly string[];
    };

/** Actions per repository. */
export type Access = Map<string, Set<string>>;

interface Token {
  expires: number;
  access: Access;
}

type BearerOptions = Extract<RegistryAuthOptions, { kind: 'bearer' }>;

const SERVICE = 'test-registry';
const ANY = '*';

/** Decides who may do what, and hands out tokens. */
export class RegistryAuth {
  readonly #options: RegistryAuthOptions | undefined;
  readonly #silent: boolean;
  readonly #tokens = new Map<string, Token>();

  /** @param silent whether only the root says what credentials are wanted */
  constructor(options: RegistryAuthOptions | undefined, silent = false) {
    this.#options = options;
    this.#silent = silent;
  }

  /** Every token that was handed out is refused from now on. */
  expireTokens(): void {
    for (const token of this.#tokens.values()) token.expires = 0;
  }

  /** True if the request may go on; otherwise it has been answered with 401 and a challenge. */
  admits(exchange: Exchange, wanted: Access): boolean {
    const options = this.#options;
    if (!options) return true;
    if (options.kind === 'basic') return this.#admitsBasic(exchange, options, wanted);
    const problem = this.#tokenProblem(exchange.header('authorization'), wanted);
    if (problem === undefined) return true;
    const scope = formatScopes(wanted);
    const parts = [`realm="${exchange.base}/token"`, `service="${SERVICE}"`];
    if (scope) parts.push(`scope="${scope}"`);
    if (problem) parts.push(`error="${problem}"`);
    this.#challenge(exchange, `Bearer ${parts.join(',')}`, wanted);
    return false;
  }

  /** The token endpoint; false if this registry has none or the method is not one of its own. */
  async issue(exchange: Exchange): Promise<boolean> {
    const options = this.#options;
    if (options?.kind !== 'bearer') return false;
    if (exchange.method === 'GET') return this.#issueByGet(exchange, options);
    if (exchange.method === 'POST') return this.#issueByPost(exchange, options);
    return false;
  }

  #admitsBasic(exchange: Exchange, options: { user: string; password: string }, wanted: Access): boolean {
    if (exchange.header('authorization') === basic(options.user, options.password)) return true;
    this.#challenge(exchange, 'Basic realm="Test Registry"', wanted);
    return false;
  }

  #challenge(exchange: Exchange, header: string, wanted: Access): void {
    const said: Record<string, string> = this.#silent && wanted.size > 0 ? {} : { 'www-authenticate': header };
    exchange.refuse(401, { code: 'UNAUTHORIZED', message: 'authentication required', detail: null }, said);
  }

  /** What the challenge gives as the error, empty when there was no token at all. */
  #tokenProblem(authorization: string | undefined, wanted: Access): string | undefined {
    const [, name] = /^Bearer (.+)$/i.exec(authorization ?? '') ?? [];
    if (name === undefined) return '';
    const token = this.#tokens.get(name);
    if (!token || token.expires <= Date.now()) return 'invalid_token';
    return covers(token.access, wanted) ? undefined : 'insufficient_scope';
  }

  #issueByGet(exchange: Exchange, options: BearerOptions): true {
    const { searchParams } = exchange.url;
    if (searchParams.get('service') !== SERVICE) return badTokenRequest(exchange, 'unknown service');
    const authorization = exchange.header('authorization');
    const isUser = options.user === undefined || authorization === basic(options.user, options.password ?? '');
    const isAnonymous = authorization === undefined && options.pullAnonymous === true;
    if (!isUser && !isAnonymous) return unauthorized(exchange);
    return this.#grant(exchange, options, parseScopes(searchParams.getAll('scope')), isUser);
  }

  async #issueByPost(exchange: Exchange, options: BearerOptions): Promise<true> {
    const form = new URLSearchParams((await exchange.bytes()).toString());
    if (options.refreshToken === undefined) return exchange.send(404, 'text/plain', '404 page not found\n');
    if (form.get('service') !== SERVICE || form.get('grant_type') !== 'refresh_token' || !form.get('client_id')) {
      return badTokenRequest(exchange, 'service, grant_type or client_id is missing or wrong');
    }
    if (form.get('refresh_token') !== options.refreshToken) return unauthorized(exchange);
    return this.#grant(exchange, options, parseScopes(form.getAll('scope')), true);
  }

  #grant(exchange: Exchange, options: BearerOptions, asked: Access | undefined, isUser: boolean): true {
    if (!asked) return badTokenRequest(exchange, 'malformed scope');
    if ([...asked.keys()].some((name) => options.denied?.includes(name))) {
      return exchange.refuse(403, { code: 'DENIED', message: 'requested access to the resource is denied' });
    }
    const access = isUser ? asked : onlyPull(asked);
    const name = `test-token-${randomUUID()}`;
    const life = options.tokenLifeSeconds ?? 300;
    this.#tokens.set(name, { expires: Date.now() + life * 1000, access });
    const isOauth = exchange.method === 'POST';
    return exchange.json(200, {
      [isOauth ? 'access_token' : 'token']: name,
      expires_in: Math.ceil(life),
      issued_at: new Date().toISOString(),
    });
  }
}

/** What a method on a repository, and on the one that a blob is mounted from, asks for. */
export function accessFor(method: string, repository: string, from: string | null): Access {
  const access: Access = new Map([[repository, new Set(actionsOf(method))]]);
  if (method === 'POST' && from && from !== repository) access.set(from, new Set(['pull']));
  return access;
}

function actionsOf(method: string): string[] {
  if (method === 'GET' || method === 'HEAD') return ['pull'];
  return method === 'DELETE' ? ['delete'] : ['pull', 'push'];
}

function covers(held: Access, wanted: Access): boolean {
  return [...wanted].every(([name, actions]) => [...actions].every((action) => allows(held.get(name), action)));
}

function allows(held: Set<string> | undefined, action: string): boolean {
  if (!held) return false;
  // Clients that cancel an upload hold the token that they pushed with.
  return held.has(action) || held.has(ANY) || (action === 'delete' && held.has('push'));
}

function onlyPull(asked: Access): Access {
  const readable = [...asked].filter(([, actions]) => actions.has('pull') || actions.has(ANY));
  return new Map(readable.map(([name]) => [name, new Set(['pull'])]));
}

function parseScopes(parameters: string[]): Access | undefined {
  const access: Access = new Map();
  for (const scope of parameters.flatMap((parameter) => parameter.split(' ')).filter(Boolean)) {
    const [, name, actions] = /^(?:repository|registry):(.+):([a-z*,]+)$/.exec(scope) ?? [];
    if (name === undefined || actions === undefined) return undefined;
    access.set(name, new Set([...(access.get(name) ?? []), ...actions.split(',')]));
  }
  return access;
}

function formatScopes(access: Access): string {
  return [...access].map(([name, actions]) => `repository:${name}:${[...actions].join(',')}`).join(' ');
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function unauthorized(exchange: Exchange): true {
  return exchange.refuse(401, { code: 'UNAUTHORIZED', message: 'incorrect username or password' });
}

function badTokenRequest(exchange: Exchange, message: string): true {
  return exchange.refuse(400, { code: 'UNSUPPORTED', message });
}
