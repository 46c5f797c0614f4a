import { type Digest, isDigest } from '../../core/digest.ts';
import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import type { HttpRequest, HttpResponse } from '../../http/client.ts';
import { errorText } from '../../http/failure.ts';
import { nextLink } from './next-link.ts';
import { type Refusal, refusalOf } from './refusal.ts';
import type { SendOptions } from '../access/access.ts';
import { addressIn } from '../access/sent-on.ts';
import type { HostFacts } from './host-facts.ts';

/** What a repository needs of its registry. */
export interface RegistryHost {
  /** As in references. */
  readonly host: string;
  readonly side: 'source' | 'target';
  readonly facts: HostFacts;
  /** For how many milliseconds a connection may neither give nor take a byte. */
  readonly stallMs: number;
  url(path: string): URL;
  /**
   * Sends a request with the right credentials.
   * @param make called again when credentials have to be renewed
   */
  send(repository: string, make: () => HttpRequest, options?: SendOptions): Promise<HttpResponse>;
  /** Takes out of what it said the credentials that it was shown. */
  redact(text: string): string;
}

/** Requests to one repository of a registry, and what it means when they are refused. */
export class RepositoryApi {
  readonly registry: RegistryHost;
  readonly name: string;
  /** What was pushed there in this run: that the registry does not know it can only be for a while. */
  readonly delivered = new Set<Digest>();

  constructor(registry: RegistryHost, name: string) {
    this.registry = registry;
    this.name = name;
  }

  get facts(): HostFacts {
    return this.registry.facts;
  }

  async send(request: HttpRequest | (() => HttpRequest), options?: SendOptions): Promise<HttpResponse> {
    return this.registry.send(this.name, typeof request === 'function' ? request : () => request, options);
  }

  /** The answers that make up a list. @throws E_PROTOCOL when it does not end */
  async *pages(path: string, reference: string, headers: Record<string, string> = {}): AsyncGenerator<HttpResponse> {
    const at = this.place(reference);
    let url: URL | undefined = this.url(path);
    for (let page = 1; url; page += 1) {
      if (page > maxPages)
        throw new MirrorError('E_PROTOCOL', `\`${url.host}\` gives a list of more than ${maxPages} pages`, { at });
      const response = await this.send({ method: 'GET', url, headers, at });
      yield response;
      url = response.status === 200 ? nextPage(response, at) : undefined;
    }
  }

  /** @param path below `/v2/<name>/` */
  url(path: string): URL {
    return this.registry.url(`/v2/${this.name}/${path}`);
  }

  /** What people call a tag or digest of this repository; with none, the repository. */
  item(reference: string): string {
    if (reference === '') return `${this.registry.host}/${this.name}`;
    return `${this.registry.host}/${this.name}${isDigest(reference) ? '@' : ':'}${reference}`;
  }

  place(reference: string): ErrorPlace {
    return { side: this.registry.side, item: this.item(reference) };
  }

  /**
   * An answer with an unwanted status; reads its body.
   * @param writes whether something was to be changed
   */
  async refusal(response: HttpResponse, reference: string, writes = false): Promise<Refusal> {
    const text = this.registry.redact(await errorText(response));
    return refusalOf(response, text, {
      at: this.place(reference),
      item: this.item(reference),
      host: this.registry.host,
      origin: this.registry.url('/v2/').origin,
      repository: this.name,
      writes,
    });
  }

  /**
   * Looks whether the registry calls what it took by the name that was given.
   * @throws E_REFUSED for one that changes what it is given
   */
  checkDigest(response: HttpResponse, sent: Digest): void {
    const kept = response.headers['docker-content-digest'] ?? '';
    const [algorithm = ''] = sent.split(':');
    if (!isDigest(kept) || kept === sent || !kept.startsWith(`${algorithm}:`)) return;
    throw new MirrorError('E_REFUSED', `the registry made \`${kept}\` of \`${sent}\`: it changes what it is given`, {
      hint: 'have its conversion of manifests switched off; signatures and digests would not hold',
      at: { ...this.place(sent), status: response.status },
    });
  }

  async failure(response: HttpResponse, reference: string, writes = false): Promise<MirrorError> {
    return (await this.refusal(response, reference, writes)).error;
  }
}

/** A list that has more pages than this never ends. */
const maxPages = 1000;

function nextPage(response: HttpResponse, at: ErrorPlace): URL | undefined {
  const link = nextLink(response.headers['link'] ?? '');
  return link === undefined ? undefined : addressIn(response.url, link, at);
}
