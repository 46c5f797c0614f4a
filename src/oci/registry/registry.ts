import type { HttpClient, HttpRequest, HttpResponse } from '../../http/client.ts';
import { directEndpoint, RegistryAccess, type RegistryEndpoint, type SendOptions } from '../access/access.ts';
import type { CredentialFinder } from '../access/credentials.ts';
import { HostFacts } from './host-facts.ts';
import { type RegistryHost, RepositoryApi } from './repository-api.ts';
import { RegistryRepository } from './repository.ts';
import type { Warnings } from './warnings.ts';

export interface RegistryOptions {
  /** One object for both sides of the host, so that what is read from it can be mounted in it. */
  facts?: HostFacts | undefined;
  /** Where and how it is asked, if not as its name says. */
  endpoint?: RegistryEndpoint | undefined;
  /** Told what the registry wants users to know. */
  warnings?: Warnings | undefined;
}

/** One registry host, as source or as target; its repositories share connections and credentials. */
export class Registry implements RegistryHost {
  readonly host: string;
  readonly side: 'source' | 'target';
  readonly facts: HostFacts;
  readonly #client: HttpClient;
  readonly #access: RegistryAccess;
  readonly #warnings: Warnings | undefined;

  /** @param host as in references, e.g. `docker.io` or `registry.zone:5000` */
  constructor(
    host: string,
    side: 'source' | 'target',
    client: HttpClient,
    credentials: CredentialFinder,
    { facts = new HostFacts(), endpoint = directEndpoint(host, client), warnings }: RegistryOptions = {},
  ) {
    this.host = host;
    this.side = side;
    this.facts = facts;
    this.#client = client;
    this.#warnings = warnings;
    this.#access = new RegistryAccess(endpoint, side, client, { credentials, pause: facts.pause });
  }

  get stallMs(): number {
    return this.#client.stallMs;
  }

  repository(name: string): RegistryRepository {
    return new RegistryRepository(new RepositoryApi(this, name));
  }

  url(path: string): URL {
    return this.#access.url(path);
  }

  async send(repository: string, make: () => HttpRequest, options?: SendOptions): Promise<HttpResponse> {
    const response = await this.#access.send(repository, make, options);
    if (response.headers['warning'] !== undefined)
      this.#warnings?.note(response.url.host, response, (text) => this.redact(text));
    return response;
  }

  redact(text: string): string {
    return this.#access.redact(text);
  }
}
