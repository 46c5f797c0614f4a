import { type HttpClient, type HttpRequest, type HttpResponse } from '../http/client.ts';
import { RegistryAuth } from './auth.ts';
import type { CredentialFinder } from './credentials.ts';
import { HostFacts } from './host-facts.ts';
import { dockerHub } from './reference.ts';
import { type RegistryHost, RepositoryApi } from './repository-api.ts';
import { RegistryRepository } from './repository.ts';

/** One registry host, as source or as target; its repositories share connections and credentials. */
export class Registry implements RegistryHost {
  readonly host: string;
  readonly side: 'source' | 'target';
  readonly facts: HostFacts;
  readonly #client: HttpClient;
  readonly #origin: string;
  readonly #auth: RegistryAuth;

  /**
   * @param host as in references, e.g. `docker.io` or `registry.zone:5000`
   * @param facts one object for both sides of the host, so that what is read from it can be mounted in it
   */
  constructor(
    host: string,
    side: 'source' | 'target',
    client: HttpClient,
    credentials: CredentialFinder,
    facts = new HostFacts(),
  ) {
    const address = host === dockerHub ? 'registry-1.docker.io' : host;
    this.host = host;
    this.side = side;
    this.facts = facts;
    this.#client = client;
    this.#origin = `${client.schemeOf(host)}://${address}`;
    this.#auth = new RegistryAuth(client, this.#origin, () => credentials(host), { side, item: host });
  }

  get stallMs(): number {
    return this.#client.stallMs;
  }

  repository(name: string): RegistryRepository {
    return new RegistryRepository(new RepositoryApi(this, name));
  }

  url(path: string): URL {
    return new URL(path, this.#origin);
  }

  async send(scope: string, make: () => HttpRequest, mayRepeat: () => boolean = () => true): Promise<HttpResponse> {
    for (let attempt = 1; ; attempt += 1) {
      const request = make();
      const authorization = request.url.origin === this.#origin ? await this.#auth.header(scope) : undefined;
      const headers = authorization === undefined ? { ...request.headers } : { ...request.headers, authorization };
      const response = await this.#client.send({ ...request, headers });
      if (response.status !== 401) return response;
      const learnt = await this.#learn(response, scope, authorization, request);
      if (!learnt || attempt > 2 || !mayRepeat()) return response;
      await response.discard();
    }
  }

  /** Some refuse without saying what they want; all say it at their root. */
  async #learn(
    response: HttpResponse,
    scope: string,
    sent: string | undefined,
    { at, signal }: HttpRequest,
  ): Promise<boolean> {
    if (this.#auth.learn(response, scope, sent)) return true;
    if (sent !== undefined || response.headers['www-authenticate'] !== undefined) return false;
    const ping = await this.#client.send({ method: 'GET', url: this.url('/v2/'), at, signal });
    await ping.discard();
    return ping.status === 401 && this.#auth.learn(ping, scope, sent);
  }
}
