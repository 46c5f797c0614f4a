import type { Digest } from '../../core/digest.ts';
import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { readAll } from '../../core/stream.ts';
import type { HttpRequest, HttpResponse } from '../../http/client.ts';
import { sendWatched } from '../../http/stall.ts';
import { addressIn } from '../access/sent-on.ts';
import { blobAnswerMs } from './answer-time.ts';
import type { RepositoryApi } from './repository-api.ts';
import type { VerifiedReader } from '../verified-reader.ts';

/** Cancelling is a courtesy. */
const cancelMs = 2000;

/** A blob on its way. */
export interface UploadedBlob {
  size: number;
  /** For messages: the digest, or what it is called until that is known. */
  name: string;
  /** Undefined until all has been read, for a blob that is made on its way. */
  readonly digest: Digest | undefined;
}

/** The requests of one upload: where the next one goes is said by the answer to the one before. */
export class UploadSession {
  readonly #api: RepositoryApi;
  readonly #blob: UploadedBlob;
  readonly #reader: VerifiedReader;
  readonly #at: ErrorPlace;
  #url: URL | undefined;
  signal: AbortSignal | undefined;

  constructor(api: RepositoryApi, blob: UploadedBlob, reader: VerifiedReader) {
    this.#api = api;
    this.#blob = blob;
    this.#reader = reader;
    this.#at = api.place(blob.name);
  }

  get isOpen(): boolean {
    return this.#url !== undefined;
  }

  /** @param mountFrom the repository to take the blob from; the answer may be that this is done, or an open upload @throws E_PROTOCOL for one without a place to go on */
  async open(mountFrom?: string): Promise<HttpResponse> {
    this.forget();
    this.#reader.restart();
    const query =
      mountFrom === undefined
        ? ''
        : `?mount=${encodeURIComponent(this.#blob.digest ?? '')}&from=${encodeURIComponent(mountFrom)}`;
    const response = await this.#api.send(
      {
        method: 'POST',
        url: this.#api.url(`blobs/uploads/${query}`),
        headers: { 'content-length': '0' },
        at: this.#at,
        signal: this.signal,
      },
      mountFrom === undefined ? {} : { mountFrom },
    );
    if (response.status !== 202) return response;
    await response.discard();
    this.follow(response);
    if (!this.#url)
      throw new MirrorError('E_PROTOCOL', `\`${response.url.host}\` begins an upload and does not say where`, {
        at: this.#at,
      });
    return response;
  }

  /** @param mayRepeat asked after an answer 401 */
  async putAll(mayRepeat: () => boolean): Promise<HttpResponse> {
    const { size } = this.#blob;
    // Nothing is read of the body of an empty request.
    if (size === 0) await readAll(this.#reader.read(0, 0, this.signal));
    return this.#write({ method: 'PUT', url: this.#closingUrl() }, 0, size, mayRepeat);
  }

  async patch(from: number, to: number): Promise<HttpResponse> {
    // All in one is no chunk: who limits the size of chunks need not limit that of a body.
    const isAll = from === 0 && to === this.#blob.size;
    const headers: Record<string, string> = isAll ? {} : { 'content-range': `${from}-${to - 1}` };
    return this.#write({ method: 'PATCH', url: this.#openUrl(), headers }, from, to);
  }

  async close(): Promise<HttpResponse> {
    return this.#write({ method: 'PUT', url: this.#closingUrl() }, 0, 0);
  }

  /** @returns how many bytes of this upload the registry has; 0 also when it does not say */
  async status(): Promise<number> {
    if (!this.#url) return 0;
    const response = await this.#api.send({ method: 'GET', url: this.#url, at: this.#at, signal: this.signal });
    await response.discard();
    const kept = endOf(response) ?? 0;
    // It cannot have what it was not sent.
    if (response.status !== 204 || kept > this.#reader.handedOut) return 0;
    this.follow(response);
    return kept;
  }

  /** Goes on where an answer says. */
  follow(response: HttpResponse): void {
    this.#api.facts.uploads.noteSmallest(response.headers['oci-chunk-min-length']);
    const location = response.headers['location'];
    if (location !== undefined) this.#url = addressIn(response.url, location, this.#at);
  }

  forget(): void {
    this.#url = undefined;
  }

  /** Tells the registry that nothing more comes, whatever it answers. */
  async cancel(): Promise<void> {
    const url = this.#url;
    this.forget();
    if (!url) return;
    try {
      const signal = AbortSignal.timeout(cancelMs);
      await (await this.#api.send({ method: 'DELETE', url, at: this.#at, signal, outlivesStop: true })).discard();
    } catch {
      // It forgets the upload by itself after a while.
    }
  }

  async #write(
    request: Pick<HttpRequest, 'method' | 'url' | 'headers'>,
    from: number,
    to: number,
    mayRepeat?: () => boolean,
  ): Promise<HttpResponse> {
    const whole: HttpRequest = {
      ...request,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(to - from),
        ...request.headers,
      },
      at: this.#at,
      signal: this.signal,
      answerMs: blobAnswerMs(this.#blob.size),
    };
    const options = mayRepeat ? { mayRepeat } : {};
    if (to === from) return this.#api.send({ ...whole, body: '' }, options);
    return sendWatched(
      (make) => this.#api.send(make, options),
      whole,
      () => this.#reader.read(from, to, this.signal),
      this.#api.registry.stallMs,
    );
  }

  #openUrl(): URL {
    if (!this.#url) throw new MirrorError('E_INTERNAL', 'an upload goes on that is not open', { at: this.#at });
    return this.#url;
  }

  /** The query is the registry's own and goes back as it came; URLSearchParams would encode it anew. */
  #closingUrl(): URL {
    const url = this.#openUrl();
    const { digest } = this.#blob;
    if (digest === undefined)
      throw new MirrorError('E_INTERNAL', 'an upload ends that was not read to its end', { at: this.#at });
    const glue = url.search === '' ? '?' : '&';
    return new URL(`${url.href}${glue}digest=${encodeURIComponent(digest)}`);
  }
}

/**
 * How many bytes a registry says to have: `Range: 0-e`, both ends counted. `0-0` is what it says of none too.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks
 */
export function endOf(response: HttpResponse): number | undefined {
  const last = /^(?:bytes[= ])?\d+-(\d+)$/.exec(response.headers['range'] ?? '')?.[1];
  return last === undefined || last === '0' ? undefined : Number(last) + 1;
}
