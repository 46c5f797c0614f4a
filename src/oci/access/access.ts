import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { limitTo } from '../../core/limit.ts';
import { type HttpClient, type HttpRequest, type HttpResponse, redirectTarget } from '../../http/client.ts';
import type { SharedPause } from '../../http/retry.ts';
import type { TlsSettings } from '../../http/tls.ts';
import { TokensForAnybody } from './anybody.ts';
import { RegistryAuth } from './auth.ts';
import type { CredentialFinder } from './credentials.ts';
import { dockerHub } from '../reference.ts';
import { sendOn } from './sent-on.ts';

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

/** How often in a row a request may be refused while the registry takes no other of its kind. */
const maxRefused = 6;
/** The same where the registry says that it is no matter of time: a token allows what it was asked for, or less. */
const maxDenied = 3;
/** Where others get through between the refusals: tokens may end faster than one request gets its turn. */
const maxTries = 20;

/** An answer, and with what it was asked for. */
interface Sent {
  response: HttpResponse;
  authorization: string | undefined;
  /** Whether it was asked for in the user's name, as far as the registry wants to know that. */
  isOwn: boolean;
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
  readonly #pause: SharedPause;
  readonly #origin: URL;
  readonly #auth: RegistryAuth;
  readonly #elsewhere: TokensForAnybody;
  readonly #actions: string;
  readonly #at: ErrorPlace;
  /** How many requests were taken: of those that read, and of those that write. */
  readonly #taken = { reads: 0, writes: 0 };
  /** For those that were refused more than once. */
  readonly #inTurn = limitTo(1);

  constructor(
    endpoint: RegistryEndpoint,
    side: 'source' | 'target',
    client: HttpClient,
    { credentials, pause }: { credentials: CredentialFinder; pause: SharedPause },
  ) {
    this.#client = client;
    this.#pause = pause;
    this.#endpoint = endpoint;
    this.#origin = new URL(endpoint.origin);
    this.#actions = side === 'source' ? 'pull' : 'pull,push';
    this.#at = { side, item: endpoint.host };
    this.#elsewhere = new TokensForAnybody(async (request) => client.send(request));
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
   * Sends a request with the right credentials; `make` is called again when they have to be renewed, as often as it takes
   * while the registry takes other requests with those that it gives, and when the registry sends what writes elsewhere.
   * @throws E_AUTH, E_USAGE, and what `HttpClient.send` throws
   */
  async send(
    repository: string,
    make: () => HttpRequest,
    { mountFrom, mayRepeat = () => true }: SendOptions = {},
  ): Promise<HttpResponse> {
    const own = `repository:${this.#below}${repository}:${this.#actions}`;
    const scope = mountFrom === undefined ? own : `${own} repository:${this.#below}${mountFrom}:pull`;
    let refused = 0;
    let takenBefore = 0;
    for (let attempt = 1; ; attempt += 1) {
      const request = make();
      const kind = request.method === 'GET' || request.method === 'HEAD' ? 'reads' : 'writes';
      const once = async (): Promise<Sent> => this.#sendFollowing(request, make, scope, repository);
      // One after the other has a token of its own, which the requests of the others do not use up.
      const { response, authorization, isOwn } = await (attempt > 2 ? this.#inTurn(once) : once());
      // What another host says of credentials is not the registry's word: it would choose where a password goes.
      const asked = response.status === 401 && isOwn && response.url.origin === this.#origin.origin;
      if (!asked) {
        this.#taken[kind] += 1;
        return kind === 'reads' && response.status === 401 ? this.#asAnybody(request, response) : response;
      }
      refused = this.#taken[kind] > takenBefore ? 1 : refused + 1;
      takenBefore = this.#taken[kind];
      const learnt = await this.#auth.learn(response, scope, repository, authorization);
      const isDenied = /error="?insufficient_scope/.test(response.headers['www-authenticate'] ?? '');
      const isOver = refused >= (isDenied ? maxDenied : maxRefused) || attempt >= maxTries;
      if (!learnt || isOver || !mayRepeat()) return response;
      await response.discard();
    }
  }

  /** A text of the registry without the credentials that it was shown. */
  redact(text: string): string {
    return this.#auth.redact(text);
  }

  /** What comes back from another host goes on as from anybody: else that host would choose what is done in the user's name. */
  async #sendFollowing(first: HttpRequest, make: () => HttpRequest, scope: string, repository: string): Promise<Sent> {
    const { origin } = this.#origin;
    let isOwn = first.url.origin === origin;
    return sendOn(first, make, async (request, from) => {
      if (from) await this.#client.checkReach(from, request.url, request.at);
      isOwn &&= request.url.origin === origin;
      if (isOwn) return this.#sendOnce(request, scope, repository);
      await this.#client.checkReach(this.#origin, request.url, request.at);
      return { response: await this.#client.send(request), authorization: undefined, isOwn };
    });
  }

  async #sendOnce(request: HttpRequest, scope: string, repository: string): Promise<Sent> {
    // Who asks to be left alone means the next request of what is under way too.
    await this.#pause.over(request.signal);
    const authorization = await this.#auth.header(scope, repository);
    const headers = authorization === undefined ? { ...request.headers } : { ...request.headers, authorization };
    return { response: await this.#send({ ...request, headers }), authorization, isOwn: true };
  }

  /** Adds what belongs to the registry's own origin. */
  async #send(request: HttpRequest): Promise<HttpResponse> {
    const { tls, headers = {} } = this.#endpoint;
    if (request.url.origin !== this.#origin.origin) return this.#client.send(request);
    return this.#client.send({ ...request, own: { tls, headers } });
  }

  /** A host that we were redirected to may let anybody read, with a token. */
  async #asAnybody(request: HttpRequest, refusal: HttpResponse): Promise<HttpResponse> {
    const authorization = await this.#elsewhere.header(refusal, request.at);
    if (authorization === undefined) return refusal;
    await refusal.discard();
    return this.#client.send({ ...request, url: refusal.url, headers: { ...request.headers, authorization } });
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
