import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, digestLike, isDigest, sha256 } from '../core/digest.ts';
import { type ErrorPlace, MirrorError, toMirrorError } from '../core/errors.ts';
import { KeyedQueue } from '../core/limit.ts';
import type { Content, ContentTarget } from '../core/ports.ts';
import { metadataLimit, readAll, readVerified, verified } from '../core/stream.ts';
import { checksumOf } from '../core/digest.ts';
import { parseJson, validate, z } from '../core/validate.ts';
import { type HttpClient, type HttpRequest, type HttpResponse, redirectTarget } from '../http/client.ts';
import { errorText, statusError } from '../http/failure.ts';
import { openRange } from '../http/range.ts';
import { RegistryAuth } from './auth.ts';
import type { CredentialFinder } from './credentials.ts';
import { readErrors } from './error-codes.ts';
import { dockerHub, fallbackTag } from './reference.ts';
import {
  checkManifestSize,
  descriptorSchema,
  isManifest,
  manifestMediaTypes,
  mediaTypes,
  parseManifest,
} from './types.ts';

/** One registry host; its repositories share connections and credentials. */
export class Registry {
  readonly host: string;
  readonly #client: HttpClient;
  readonly #origin: string;
  readonly #auth: RegistryAuth;
  readonly #side: 'source' | 'target';

  /** @param host as in references, e.g. `docker.io` or `registry.zone:5000` */
  constructor(host: string, side: 'source' | 'target', client: HttpClient, credentials: CredentialFinder) {
    const address = host === dockerHub ? 'registry-1.docker.io' : host;
    this.host = host;
    this.#client = client;
    this.#side = side;
    this.#origin = `${client.schemeOf(host)}://${address}`;
    this.#auth = new RegistryAuth(client, this.#origin, () => credentials(host), { side, item: host });
  }

  repository(name: string): RegistryRepository {
    return new RegistryRepository(this, name);
  }

  place(item: string): ErrorPlace {
    return { side: this.#side, item };
  }

  url(path: string): URL {
    return new URL(path, this.#origin);
  }

  /** Sends a request with the right credentials; `make` is called again when they have to be renewed. */
  async send(repository: string, make: () => HttpRequest): Promise<HttpResponse> {
    const scope = `repository:${repository}:${this.#side === 'source' ? 'pull' : 'pull,push'}`;
    for (let attempt = 1; ; attempt += 1) {
      const request = make();
      const authorization = request.url.origin === this.#origin ? await this.#auth.header(scope) : undefined;
      const headers = authorization === undefined ? { ...request.headers } : { ...request.headers, authorization };
      const response = await this.#client.send({ ...request, headers });
      if (response.status !== 401 || attempt > 2 || !this.#auth.learn(response, scope, authorization)) return response;
      await response.discard();
    }
  }
}

/**
 * One repository of a registry: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 * Blobs are pushed with POST and one PUT, the fewest round trips that every registry takes.
 */
export class RegistryRepository implements ContentTarget {
  readonly #registry: Registry;
  readonly #name: string;
  readonly #attaching = new KeyedQueue();
  /** Known once it has been asked for a list. */
  #hasReferrersApi = false;
  /** Manifests of this run by digest, for tagging; small, and at most one per image. */
  readonly #manifests = new Map<Digest, { bytes: Buffer; mediaType: string }>();

  constructor(registry: Registry, name: string) {
    this.#registry = registry;
    this.#name = name;
  }

  async resolve(reference: string): Promise<Descriptor> {
    const head = await this.#manifest('HEAD', reference);
    await head.discard();
    // A digest that was asked for is what is wanted, whatever the server calls its answer.
    const digest = isDigest(reference) ? reference : (head.headers['docker-content-digest'] ?? '');
    const mediaType = mediaTypeOf(head);
    const size = Number(head.headers['content-length'] ?? Number.NaN);
    if (isDigest(digest) && mediaType !== '' && Number.isSafeInteger(size)) return { mediaType, digest, size };
    const got = await this.#manifest('GET', reference);
    const bytes = await got.bytes(metadataLimit);
    return {
      mediaType: parseManifest(bytes, mediaTypeOf(got), this.#item(reference)).mediaType,
      digest: isDigest(reference) ? reference : sha256(bytes),
      size: bytes.length,
    };
  }

  async exists(descriptor: Descriptor): Promise<boolean> {
    const response = await this.#send({
      method: 'HEAD',
      url: this.#pathOf(descriptor),
      headers: acceptFor(descriptor),
      at: this.#place(descriptor.digest),
    });
    await response.discard();
    if (response.status === 200) return true;
    if (response.status === 404) return false;
    throw await this.#failure(response, descriptor.digest);
  }

  async fetch(descriptor: Descriptor): Promise<Content> {
    const at = this.#place(descriptor.digest);
    const send = async (range: Record<string, string>, signal?: AbortSignal): Promise<HttpResponse> => {
      const response = await this.#send({
        method: 'GET',
        url: this.#pathOf(descriptor),
        headers: { ...acceptFor(descriptor), ...range },
        at,
        signal,
      });
      if (response.status >= 400) throw await this.#failure(response, descriptor.digest);
      return response;
    };
    return {
      size: descriptor.size,
      open: (offset, signal) => openRange((range) => send(range, signal), offset, descriptor.size, at),
    };
  }

  async push(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    if (isManifest(expected)) await this.#pushManifest(expected, content, signal);
    else await this.#pushBlob(expected, content, signal);
  }

  async tag(descriptor: Descriptor, reference: string): Promise<void> {
    if (isDigest(reference)) return;
    const known = this.#manifests.get(descriptor.digest) ?? (await this.#read(descriptor));
    await this.#putManifest(reference, known.bytes, known.mediaType);
  }

  async tags(): Promise<string[]> {
    const tags: string[] = [];
    for await (const response of this.#pages('tags/list?n=1000', 'tags')) {
      if (response.status === 404) {
        await response.discard();
        return tags;
      }
      if (response.status !== 200) throw await this.#failure(response, 'tags');
      const page = validate(tagsSchema, parseJson(await response.bytes(), 'tags', 'E_PROTOCOL'), 'tags', 'E_PROTOCOL');
      tags.push(...(page.tags ?? []));
    }
    return tags;
  }

  /** The referrers API, and where it is missing the tag that stands in for it. */
  async referrers(subject: Descriptor): Promise<Descriptor[]> {
    const found: Descriptor[] = [];
    for await (const response of this.#pages(`referrers/${subject.digest}`, subject.digest, {
      accept: mediaTypes.ociIndex,
    })) {
      if (response.status !== 200) {
        await response.discard();
        if (response.status >= 500 || response.status === 429 || response.status === 401)
          throw statusError(response, this.#place(subject.digest), 'no list of referrers');
        this.#hasReferrersApi = false;
        return (await this.#fallbackIndex(subject)).manifests;
      }
      this.#hasReferrersApi = true;
      const bytes = await response.bytes();
      found.push(
        ...validate(indexSchema, parseJson(bytes, 'referrers', 'E_PROTOCOL'), 'referrers', 'E_PROTOCOL').manifests,
      );
    }
    return found;
  }

  /** The answers that make up a list. @throws E_PROTOCOL when it does not end */
  async *#pages(path: string, reference: string, headers: Record<string, string> = {}): AsyncGenerator<HttpResponse> {
    const at = this.#place(reference);
    let url: URL | undefined = this.#url(path);
    for (let page = 1; url; page += 1) {
      if (page > maxPages)
        throw new MirrorError('E_PROTOCOL', `\`${url.host}\` gives a list of more than ${maxPages} pages`, { at });
      const response = await this.#send({ method: 'GET', url, headers, at });
      yield response;
      url = response.status === 200 ? nextPage(response, at) : undefined;
    }
  }

  async attach(subject: Descriptor, referrers: readonly Descriptor[]): Promise<void> {
    // The fallback tag is read, merged and written back: two writers at once would lose entries.
    await this.#attaching.run(subject.digest, async () => {
      let missing = await this.#unlisted(subject, referrers);
      if (missing.length > 0 && this.#hasReferrersApi) {
        // It took them and does not list them: once more, as some lose what comes at once.
        for (const referrer of missing) await this.#putAgain(referrer);
        missing = await this.#unlisted(subject, referrers);
        if (missing.length > 0)
          throw new MirrorError(
            'E_REFUSED',
            `the registry took ${missing.length} referrers of \`${subject.digest}\` and does not list them`,
            {
              hint: 'run the same command again; `--no-referrers` leaves them out',
              at: this.#place(subject.digest),
            },
          );
      }
      if (missing.length === 0) return;
      const index = await this.#fallbackIndex(subject);
      const bytes = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: mediaTypes.ociIndex,
          manifests: [...index.manifests, ...missing],
        }),
      );
      await this.#putManifest(fallbackTag(subject.digest), bytes, mediaTypes.ociIndex);
    });
  }

  async #unlisted(subject: Descriptor, referrers: readonly Descriptor[]): Promise<Descriptor[]> {
    const listed = new Set((await this.referrers(subject)).map(({ digest }) => digest));
    return referrers.filter(({ digest }) => !listed.has(digest));
  }

  async #putAgain(descriptor: Descriptor): Promise<void> {
    try {
      const { bytes, mediaType } = this.#manifests.get(descriptor.digest) ?? (await this.#read(descriptor));
      await this.#putManifest(descriptor.digest, bytes, mediaType);
    } catch (error) {
      throw childUnknown(toMirrorError(error));
    }
  }

  /**
   * The index behind the fallback tag; empty when there is none. Some registries resolve `sha256-<hex>` to the subject
   * itself: that is no index of referrers and must never be written over as if it were.
   */
  async #fallbackIndex(subject: Descriptor): Promise<{ manifests: Descriptor[] }> {
    const response = await this.#send({
      method: 'GET',
      url: this.#url(`manifests/${fallbackTag(subject.digest)}`),
      headers: { accept: manifestMediaTypes.join(', ') },
      at: this.#place(subject.digest),
    });
    if (response.status === 404) {
      await response.discard();
      return { manifests: [] };
    }
    if (response.status !== 200) throw await this.#failure(response, fallbackTag(subject.digest));
    const bytes = await response.bytes();
    if (digestLike(subject.digest, bytes) === subject.digest || mediaTypeOf(response) !== mediaTypes.ociIndex)
      return { manifests: [] };
    return validate(indexSchema, parseJson(bytes, 'referrers', 'E_PROTOCOL'), 'referrers', 'E_PROTOCOL');
  }

  async #pushManifest(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    const item = this.#item(expected.digest);
    checkManifestSize(expected, item);
    const bytes = await readVerified(
      content,
      { size: expected.size, checksum: checksumOf(expected.digest), item },
      signal,
    );
    await this.#putManifest(expected.digest, bytes, expected.mediaType);
    this.#manifests.set(expected.digest, { bytes, mediaType: expected.mediaType });
  }

  async #putManifest(reference: string, bytes: Buffer, mediaType: string): Promise<void> {
    const response = await this.#send({
      method: 'PUT',
      url: this.#url(`manifests/${reference}`),
      headers: { 'content-type': mediaType, 'content-length': String(bytes.length) },
      body: bytes,
      at: this.#place(reference),
      answerMs: closingMs,
    });
    if (response.status < 200 || response.status > 202) throw childUnknown(await this.#failure(response, reference));
    await response.discard();
  }

  async #pushBlob(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    const at = this.#place(expected.digest);
    const opened = await this.#send({
      method: 'POST',
      url: this.#url('blobs/uploads/'),
      headers: { 'content-length': '0' },
      at,
      signal,
    });
    const location = opened.headers['location'];
    if (opened.status !== 202 || location === undefined) throw await this.#failure(opened, expected.digest);
    await opened.discard();
    const session = sessionUrl(opened.url, location, at);
    // The query is the registry's own and goes back as it came; URLSearchParams would encode it anew.
    const url = new URL(
      `${session.href}${session.search === '' ? '?' : '&'}digest=${encodeURIComponent(expected.digest)}`,
    );
    await this.#stream(expected, content, { method: 'PUT', url, at, signal, answerMs: closingMs });
  }

  async #stream(expected: Descriptor, content: Content, request: HttpRequest): Promise<void> {
    const broken: { error?: unknown } = {};
    const item = this.#item(expected.digest);
    const body = async function* (): AsyncGenerator<Uint8Array> {
      try {
        yield* verified(content.open(0, request.signal), {
          size: expected.size,
          checksum: checksumOf(expected.digest),
          item,
        });
      } catch (error) {
        // The client below would blame the target for a source that broke.
        broken.error = error;
        throw error;
      }
    };
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(expected.size) };
    let response: HttpResponse;
    try {
      // Nothing is read of the body of an empty request.
      if (expected.size === 0) await readAll(body());
      response = await this.#send(() => ({ ...request, headers, body: expected.size === 0 ? '' : body() }));
    } catch (error) {
      throw broken.error ?? error;
    }
    if (response.status !== 201 && response.status !== 204) throw await this.#failure(response, expected.digest);
    await response.discard();
  }

  async #manifest(method: 'HEAD' | 'GET', reference: string): Promise<HttpResponse> {
    const response = await this.#send({
      method,
      url: this.#url(`manifests/${reference}`),
      headers: { accept: manifestMediaTypes.join(', ') },
      at: this.#place(reference),
    });
    if (response.status !== 200) throw await this.#failure(response, reference);
    return response;
  }

  async #read(descriptor: Descriptor): Promise<{ bytes: Buffer; mediaType: string }> {
    checkManifestSize(descriptor, this.#item(descriptor.digest));
    const content = await this.fetch(descriptor);
    const bytes = await readVerified(content, {
      size: descriptor.size,
      checksum: checksumOf(descriptor.digest),
      item: this.#item(descriptor.digest),
    });
    return { bytes, mediaType: descriptor.mediaType };
  }

  async #send(request: HttpRequest | (() => HttpRequest)): Promise<HttpResponse> {
    return this.#registry.send(this.#name, typeof request === 'function' ? request : () => request);
  }

  #url(path: string): URL {
    return this.#registry.url(`/v2/${this.#name}/${path}`);
  }

  #pathOf(descriptor: Descriptor): URL {
    return this.#url(`${isManifest(descriptor) ? 'manifests' : 'blobs'}/${descriptor.digest}`);
  }

  #item(reference: string): string {
    return `${this.#registry.host}/${this.#name}${isDigest(reference) ? '@' : ':'}${reference}`;
  }

  #place(reference: string): ErrorPlace {
    return this.#registry.place(this.#item(reference));
  }

  async #failure(response: HttpResponse, reference: string): Promise<MirrorError> {
    const at = this.#place(reference);
    const { code, said } = readErrors(await errorText(response), response.status);
    if (code === 'E_NOT_FOUND') {
      const hint = 'check the spelling; registries also answer so for what you may not see';
      return new MirrorError(code, `\`${this.#item(reference)}\` is not there`, {
        hint,
        at: { ...at, status: response.status },
      });
    }
    if (code === 'E_AUTH') {
      const error = statusError(response, at, said, code);
      const hint = `log in with \`docker login ${this.#registry.host}\` as a user who may ${this.#registry.place('').side === 'target' ? 'push' : 'pull'} there; registries also answer so when the repository does not exist`;
      return new MirrorError(
        code,
        `\`${this.#item(reference)}\`: not authorised (${response.status}${said === '' ? '' : `: ${said}`})`,
        { hint, at: error.at },
      );
    }
    return statusError(response, at, said, code);
  }
}

/** What is not found when a manifest is put or looked up for its subject has not arrived. */
function childUnknown(error: MirrorError): MirrorError {
  if (error.code !== 'E_NOT_FOUND') return error;
  return new MirrorError('E_BLOB_UNKNOWN', `the target misses a part of ${error.at.item ?? 'the manifest'}`, {
    at: error.at,
    cause: error,
  });
}

/** A registry may move a large blob to its store before it answers. */
const closingMs = 15 * 60_000;

const tagsSchema = z.object({ tags: z.array(z.string()).nullish() });
const indexSchema = z.object({ manifests: z.array(descriptorSchema) });

function acceptFor(descriptor: Descriptor): Record<string, string> {
  return isManifest(descriptor) ? { accept: manifestMediaTypes.join(', ') } : {};
}

function mediaTypeOf(response: HttpResponse): string {
  return (response.headers['content-type'] ?? '').split(';')[0]?.trim() ?? '';
}

/** Behind a proxy that ends TLS a registry may name itself with http. */
function sessionUrl(from: URL, location: string, at: ErrorPlace): URL {
  const named = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  if (named && named.host === from.host) named.protocol = from.protocol;
  return redirectTarget(from, named?.href ?? location, at);
}

/** A list that has more pages than this never ends. */
const maxPages = 1000;

function nextPage(response: HttpResponse, at: ErrorPlace): URL | undefined {
  const link = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers['link'] ?? '')?.[1];
  return link === undefined ? undefined : redirectTarget(response.url, link, at);
}
