import { type ErrorPlace, MirrorError } from '../core/errors.ts';
import { type HttpClient, type HttpRequest, type HttpResponse, redirectTarget } from '../http/client.ts';
import type { TlsSettings } from '../http/tls.ts';
import { RegistryAuth } from './auth.ts';
import type { CredentialFinder } from './credentials.ts';
import { dockerHub } from './reference.ts';

/** Where and how the API of a registry is asked. */
export interface RegistryEndpoint {
  /** As in references; credentials are looked up by it. */
  host: string;
  /** `https://host:port` */
  origin: string;
  /** Path of the API's root, mostly `/v2`. */
  root: string;
  /** The registry that this one mirrors, for mirrors of more than one. */
  namespace?: string | undefined;
  /** Settings of its own, instead of those that are found by its name. */
  tls?: TlsSettings | undefined;
  /** Sent with each request to it, and nowhere else. */
  headers?: Record<string, string>;
}

export interface SendOptions {
  /** Another repository that is read from: a token of its own, so that one that is denied spoils nothing. */
  mountFrom?: string;
  /** Asked after an answer 401: false hands the answer up, with what it said learnt. */
  mayRepeat?: () => boolean;
}

/** A registry as references name it. @param host e.g. `docker.io` or `registry.zone:5000` */
export function directEndpoint(host: string, client: HttpClient): RegistryEndpoint {
  const address = host === dockerHub ? 'registry-1.docker.io' : host;
  return { host, origin: `${client.schemeOf(host)}://${address}`, root: '/v2' };
}

/**
 * Sends requests to one registry with what it wants to see. Credentials and headers go to its own origin, credentials to
 * the token server that it names over HTTPS too; nothing of them goes to where it redirects or where its uploads lie.
 */
export class RegistryAccess {
  readonly #client: HttpClient;
  readonly #endpoint: RegistryEndpoint;
  readonly #origin: URL;
  readonly #auth: RegistryAuth;
  readonly #actions: string;
  readonly #at: ErrorPlace;

  constructor(
    endpoint: RegistryEndpoint,
    side: 'source' | 'target',
    client: HttpClient,
    credentials: CredentialFinder,
  ) {
    this.#client = client;
    this.#endpoint = endpoint;
    this.#origin = new URL(endpoint.origin);
    this.#actions = side === 'source' ? 'pull' : 'pull,push';
    this.#at = { side, item: endpoint.host };
    this.#auth = new RegistryAuth({
      origin: this.#origin.origin,
      send: async (request) => this.#send(request),
      checkRealm: async (realm) => this.#checkRealm(realm),
      credential: async (repository, refused) => credentials(endpoint.host, repository, refused),
      ping: this.url('/v2/'),
      at: this.#at,
    });
  }

  /** @param path as the distribution specification has it, from `/v2/` on */
  url(path: string): URL {
    const url = new URL(path.replace(/^\/v2(?=\/)/, this.#endpoint.root), this.#origin);
    if (this.#endpoint.namespace !== undefined) url.searchParams.append('ns', this.#endpoint.namespace);
    return url;
  }

  /**
   * Sends a request with the right credentials; `make` is called again when they have to be renewed.
   * @throws E_AUTH, E_USAGE, and what `HttpClient.send` throws
   */
  async send(
    repository: string,
    make: () => HttpRequest,
    { mountFrom, mayRepeat = () => true }: SendOptions = {},
  ): Promise<HttpResponse> {
    const own = `repository:${this.#below}${repository}:${this.#actions}`;
    const scope = mountFrom === undefined ? own : `${own} repository:${this.#below}${mountFrom}:pull`;
    for (let attempt = 1; ; attempt += 1) {
      const request = make();
      const own = request.url.origin === this.#origin.origin;
      if (!own) await this.#client.checkReach(this.#origin, request.url, request.at);
      const authorization = own ? await this.#auth.header(scope, repository) : undefined;
      const headers = authorization === undefined ? { ...request.headers } : { ...request.headers, authorization };
      const response = await this.#send({ ...request, headers });
      // What another host says of credentials is not the registry's word: it would choose where a password goes.
      const asked = response.status === 401 && response.url.origin === this.#origin.origin;
      if (!asked) return response;
      const learnt = await this.#auth.learn(response, scope, repository, authorization);
      if (!learnt || attempt > 2 || !mayRepeat()) return response;
      await response.discard();
    }
  }

  /** Adds what belongs to the registry's own origin. */
  async #send(request: HttpRequest): Promise<HttpResponse> {
    const { tls, headers = {} } = this.#endpoint;
    if (request.url.origin !== this.#origin.origin) return this.#client.send(request);
    return this.#client.send({ ...request, own: { tls, headers } });
  }

  async #checkRealm(realm: URL): Promise<void> {
    redirectTarget(this.#origin, realm.href, this.#at);
    const mayBePlain = realm.origin === this.#origin.origin || this.#client.schemeOf(realm.host) === 'http';
    if (realm.protocol === 'http:' && !mayBePlain)
      throw new MirrorError(
        'E_PROTOCOL',
        `\`${this.#origin.host}\` wants credentials sent to \`${realm.protocol}//${realm.host}\`, which is not HTTPS`,
        { at: this.#at },
      );
    await this.#client.checkReach(this.#origin, realm, this.#at);
  }

  /** What a root like `/v2/proxy` puts before the names of repositories. */
  get #below(): string {
    const below = /^\/v2\/(.+)$/.exec(this.#endpoint.root)?.[1];
    return below === undefined ? '' : `${below}/`;
  }
}
