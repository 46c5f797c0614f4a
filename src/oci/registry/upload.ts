import { setTimeout as sleep } from 'node:timers/promises';
import type { Descriptor } from '../../core/descriptor.ts';
import { checksumOf, type Digest } from '../../core/digest.ts';
import { endsRun, MirrorError, toMirrorError } from '../../core/errors.ts';
import { smallBody } from '../../core/limit.ts';
import type { Content } from '../../core/ports.ts';
import { AheadContent } from '../../core/stream.ts';
import type { HttpResponse } from '../../http/client.ts';
import type { Refusal } from './refusal.ts';
import type { RepositoryApi } from './repository-api.ts';
import { endOf, type UploadedBlob, UploadSession } from './upload-session.ts';
import { VerifiedReader } from '../verified-reader.ts';

/**
 * Puts blobs into one repository. A blob is mounted from another repository of the host when it is known to lie there;
 * else it costs POST and one PUT, the fewest round trips that every registry takes.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs
 */
export class Uploads {
  readonly #api: RepositoryApi;
  /** Uploads that broke in the middle, by what was uploaded: the next try goes on there. */
  readonly #broken = new WeakMap<Content, BlobUpload>();

  constructor(api: RepositoryApi) {
    this.#api = api;
  }

  /**
   * Pushes a blob. After a failure that may pass, a call with the same `content` goes on with what the registry kept, if
   * the blob is large and the registry says what it has.
   * @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH, E_REFUSED, E_AUTH, E_NETWORK, E_REMOTE, E_RATE_LIMIT
   */
  async push({ digest, size }: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    await this.#push(content, () => new BlobUpload(this.#api, content, { size, name: digest, digest }), signal);
  }

  /**
   * The same for a blob that is made while it is read: what its digest is comes back. It is not mounted, and the body
   * goes before the digest, in a request of its own.
   * @param name for messages, until the digest is known
   * @param content not empty
   */
  async pushMade(name: string, content: Content, signal?: AbortSignal): Promise<Digest> {
    const { size } = content;
    return this.#push(content, () => new BlobUpload(this.#api, content, { size, name, digest: undefined }), signal);
  }

  async #push(content: Content, begin: () => BlobUpload, signal: AbortSignal | undefined): Promise<Digest> {
    const upload = this.#broken.get(content) ?? begin();
    this.#broken.delete(content);
    let digest: Digest;
    try {
      digest = await upload.run(signal);
    } catch (error) {
      if (upload.canGoOn && toMirrorError(error).retryable) this.#broken.set(content, upload);
      else await upload.cancel();
      throw error;
    }
    this.#api.delivered.add(digest);
    this.#api.facts.blobs.note(digest, this.#api.name);
    return digest;
  }
}

/** Below this it is cheaper to begin anew than to ask how far an upload came. */
const large = 8 * 1024 * 1024;
/** Between two looks at how far a broken upload came. */
const settleMs = 100;
const maxLooks = 20;
/** How often a chunk may bring nothing. */
const maxStuck = 8;

/** One blob on its way. */
class BlobUpload {
  readonly #api: RepositoryApi;
  readonly #blob: UploadedBlob;
  readonly #content: AheadContent;
  readonly #reader: VerifiedReader;
  readonly #session: UploadSession;

  constructor(api: RepositoryApi, content: Content, { size, name, digest }: UploadedBlob) {
    const ahead = new AheadContent(content);
    const reader = new VerifiedReader(ahead, { size, checksum: digest && checksumOf(digest), item: name });
    this.#api = api;
    this.#content = ahead;
    this.#reader = reader;
    this.#blob = {
      size,
      name,
      get digest() {
        return digest ?? reader.digest;
      },
    };
    this.#session = new UploadSession(api, this.#blob, reader);
  }

  get canGoOn(): boolean {
    return this.#session.isOpen && this.#blob.size > large && this.#reader.handedOut > 0;
  }

  async run(signal: AbortSignal | undefined): Promise<Digest> {
    this.#session.signal = signal;
    try {
      await this.#run();
      const { digest } = this.#blob;
      if (digest === undefined) throw this.#lost('ended before it was read');
      return digest;
    } catch (error) {
      throw this.#reader.broken?.error ?? error;
    } finally {
      this.#reader.close();
      this.#content.drop();
    }
  }

  async cancel(): Promise<void> {
    await this.#session.cancel();
  }

  async #run(): Promise<void> {
    const { facts } = this.#api;
    if (this.canGoOn) {
      const kept = await this.#settled();
      if (kept > 0) return this.#sendChunks(kept);
      // The break may have taken away the answer to the very last request.
      if (await this.#isThere()) return;
      await this.#session.cancel();
    }
    if (await this.#mount()) return;
    // The source's answer travels while the registry opens an upload.
    if (this.#blob.size <= smallBody) this.#content.start(this.#session.signal);
    if (!this.#session.isOpen) await this.#open();
    // The digest goes with the body, for who knows it already.
    const isKnown = this.#blob.digest !== undefined;
    if (isKnown && facts.uploads.takesWhole(this.#blob.size) && (await this.#sendWhole())) return;
    if (!this.#session.isOpen) await this.#open();
    await this.#sendChunks(0);
  }

  /** What was sent before a break may still be on its way into the registry: its word counts once it stays the same. */
  async #settled(): Promise<number> {
    const { signal } = this.#session;
    let kept = await this.#session.status();
    for (let look = 0; kept > 0 && look < maxLooks; look += 1) {
      await sleep(settleMs, undefined, signal ? { signal } : {});
      const again = await this.#session.status();
      if (again === kept) return kept;
      kept = again;
    }
    return kept;
  }

  async #isThere(): Promise<boolean> {
    const { digest } = this.#blob;
    if (digest === undefined) return false;
    const url = this.#api.url(`blobs/${digest}`);
    const { signal } = this.#session;
    const response = await this.#api.send({ method: 'HEAD', url, at: this.#api.place(digest), signal });
    await response.discard();
    return response.status === 200;
  }

  async #open(): Promise<void> {
    const response = await this.#session.open();
    if (response.status !== 202) throw await this.#api.failure(response, this.#blob.name, true);
  }

  /** Whatever a registry has against mounting, the blob can still be pushed. @returns whether it was mounted */
  async #mount(): Promise<boolean> {
    const { digest } = this.#blob;
    const { facts, name, delivered } = this.#api;
    // What it took and does not know is not helped by mounting it once more.
    if (digest === undefined || delivered.has(digest)) return false;
    const from = facts.blobs.mountFrom(digest, name);
    if (from === undefined) return false;
    try {
      const response = await this.#session.open(from);
      if (response.status === 201) {
        await response.discard();
        this.#api.checkDigest(response, digest);
      } else if (response.status !== 202) throw await this.#api.failure(response, this.#blob.name, true);
      return response.status === 201;
    } catch (error) {
      const known = toMirrorError(error);
      if (known.retryable || endsRun(known)) throw error;
      facts.blobs.refuse(from, name);
      return false;
    }
  }

  /** @returns false when the registry may take the blob in smaller requests */
  async #sendWhole(): Promise<boolean> {
    const { size } = this.#blob;
    const { uploads } = this.#api.facts;
    // Who looks at the token when the body is through wants requests that are shorter than a token's life.
    const isLate = (): boolean => size > large && this.#reader.handedOut === size;
    const response = await this.#session.putAll(() => !isLate());
    if (isDone(response)) {
      await this.#finish(response);
      return true;
    }
    const refusal = await this.#api.refusal(response, this.#blob.name, true);
    const late = response.status === 401 && isLate();
    if (!late && !isTooLarge(refusal)) throw this.#refused(refusal);
    if (!late && size <= uploads.chunk && !uploads.shrink(size)) throw this.#refused(refusal);
    uploads.refuseWhole(size);
    await this.#session.cancel();
    return false;
  }

  async #sendChunks(from: number): Promise<void> {
    const { size, name } = this.#blob;
    const { uploads } = this.#api.facts;
    let stuck = 0;
    for (let position = from; position < size;) {
      const to = uploads.takesWhole(size) ? size : Math.min(size, position + uploads.chunk);
      const reached = await this.#sendChunk(position, to);
      stuck = reached > position ? 0 : stuck + 1;
      if (stuck > maxStuck) throw this.#lost(`does not get beyond byte ${position}`);
      position = reached;
    }
    const response = await this.#session.close();
    if (!isDone(response)) throw this.#refused(await this.#api.refusal(response, name, true));
    await this.#finish(response);
  }

  /** @returns the place of the next byte that the registry wants */
  async #sendChunk(from: number, to: number): Promise<number> {
    const { uploads } = this.#api.facts;
    const response = await this.#session.patch(from, to);
    // The registry's word counts, as far as it cannot be wrong.
    const kept = endOf(response) ?? to;
    if ([201, 202, 204].includes(response.status)) {
      await response.discard();
      this.#session.follow(response);
      if (kept > to) throw this.#lost(`has ${kept} bytes at the registry, ${to} were sent`);
      return kept;
    }
    const refusal = await this.#api.refusal(response, this.#blob.name, true);
    if (isTooLarge(refusal)) {
      uploads.refuseWhole(this.#blob.size);
      if (uploads.shrink(to - from)) return from;
    } else if (isTooSmall(refusal)) {
      if (to < this.#blob.size && uploads.grow(to - from)) return from;
    } else if (response.status === 416) {
      this.#session.follow(response);
      const wanted = (await this.#settled()) || (endOf(response) ?? 0);
      if (wanted > 0 && wanted !== from && wanted <= this.#reader.handedOut) return wanted;
    }
    throw this.#refused(refusal);
  }

  async #finish(response: HttpResponse): Promise<void> {
    await response.discard();
    this.#session.forget();
    if (this.#blob.digest !== undefined) this.#api.checkDigest(response, this.#blob.digest);
  }

  #lost(what: string): MirrorError {
    this.#session.forget();
    const { name } = this.#blob;
    return new MirrorError('E_REMOTE', `the upload of \`${name}\` ${what}`, { at: this.#api.place(name) });
  }

  /** What a registry has against one upload it may not have against the next one. */
  #refused(refusal: Refusal): MirrorError {
    const { status, name, error } = refusal;
    if (isTooLarge(refusal) || isTooSmall(refusal))
      return new MirrorError('E_REFUSED', error.message, { at: error.at, hint: limitHint });
    if (status >= 500 || status === 429) return error;
    // Its bytes passed our own check: they were changed on their way there.
    const passing = name === 'DIGEST_INVALID' || name === 'SIZE_INVALID' || [404, 410, 416].includes(status);
    if (passing || error.retryable) this.#session.forget();
    return passing ? new MirrorError('E_REMOTE', error.message, { at: error.at, cause: error }) : error;
  }
}

const limitHint = 'have the limit of the registry, or of the proxy before it, raised (nginx: `client_max_body_size 0`)';

function isDone(response: HttpResponse): boolean {
  return response.status === 200 || response.status === 201 || response.status === 204;
}

/** 413, or what GHCR and others say instead. */
function isTooLarge({ status, name, text }: Refusal): boolean {
  if (status === 413) return true;
  return (status === 416 || name === 'SIZE_INVALID') && /exceed|too (?:large|big)|limit/i.test(text);
}

function isTooSmall({ status, text }: Refusal): boolean {
  return (status === 400 || status === 416) && /too small|TooSmall|minimum/i.test(text);
}
