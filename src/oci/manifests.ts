import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, isDigest, sha256 } from '../core/digest.ts';
import { MirrorError, placeError, toMirrorError } from '../core/errors.ts';
import type { Content } from '../core/ports.ts';
import { expectationOf, explained, metadataLimit, readVerified } from '../core/stream.ts';
import { bulkBytes } from '../http/bulk.ts';
import type { HttpResponse } from '../http/client.ts';
import { openRange } from '../http/range.ts';
import { manifestAnswerMs } from './registry/answer-time.ts';
import type { Refusal } from './registry/refusal.ts';
import type { RepositoryApi } from './registry/repository-api.ts';
import { acceptedTypes, checkManifestSize, isForeign, isManifest, manifestMediaTypes, parseManifest } from './types.ts';

/**
 * The manifests and tags of one repository.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
 */
export class Manifests {
  readonly #api: RepositoryApi;
  /** Referrers that the registry itself lists under their subject, by its own word. */
  readonly listed = new Set<Digest>();
  /** What HEAD said that tags name: some registries say another digest than that of what they give. */
  readonly #said = new Map<Digest, string>();

  constructor(api: RepositoryApi) {
    this.#api = api;
  }

  /** What a tag or digest names. @throws E_NOT_FOUND */
  async resolve(reference: string): Promise<Descriptor> {
    const head = await this.#head(reference);
    // Files on a plain web server, and some registries, come as JSON or as text: then the document tells its type.
    if (!head || head.size === 0 || !isManifest(head)) return this.#read(reference);
    if (!isDigest(reference)) this.#said.set(head.digest, reference);
    return head;
  }

  /** The same by GET: the bytes tell what they are. */
  async #read(reference: string): Promise<Descriptor> {
    const got = await this.#ask('GET', reference);
    if (got.status !== 200) throw await this.#api.failure(got, reference);
    if (mediaTypeOf(got) === 'text/html') {
      await got.discard();
      throw new MirrorError('E_PROTOCOL', `\`${this.#api.item(reference)}\` is answered with a web page`, {
        hint: 'check that this is the address of a registry, and whether a proxy or a page to log in stands before it',
        at: this.#api.place(reference),
      });
    }
    const bytes = await got.bytes(metadataLimit);
    try {
      const { mediaType } = parseManifest(bytes, mediaTypeOf(got), this.#api.item(reference));
      return { mediaType, digest: isDigest(reference) ? reference : sha256(bytes), size: bytes.length };
    } catch (error) {
      throw placeError(error, this.#api.place(reference));
    }
  }

  async exists(descriptor: Descriptor): Promise<boolean> {
    const head = await this.#ask('HEAD', descriptor.digest, acceptedTypes(descriptor));
    return isThere(this.#api, head, descriptor.digest);
  }

  fetch(descriptor: Descriptor): Content {
    const { digest } = descriptor;
    const content = contentAt(this.#api, descriptor, `manifests/${digest}`, { accept: acceptedTypes(descriptor) });
    const tag = this.#said.get(digest);
    return tag === undefined ? content : this.#unlessMisnamed(content, tag, digest);
  }

  /** What a tag was said to name, and is not there: then it was the answer to HEAD that was wrong. */
  #unlessMisnamed(content: Content, tag: string, said: Digest): Content {
    return explained(content, async (problem) => {
      if (toMirrorError(problem).code !== 'E_NOT_FOUND') return problem;
      const gives = await this.#read(tag).catch(() => undefined);
      if (!gives || gives.digest === said) return problem;
      return new MirrorError('E_PROTOCOL', `\`${this.#api.item(tag)}\` is said to be \`${said}\`, and is another`, {
        hint: `name what it gives: \`${this.#api.item(gives.digest)}\``,
        at: this.#api.place(tag),
        cause: problem,
      });
    });
  }

  /** @throws E_BLOB_UNKNOWN, E_REFUSED, E_DIGEST_MISMATCH, E_SIZE_MISMATCH */
  async push(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    const bytes = await this.#readAll(expected, content, signal);
    await this.put(expected.digest, { digest: expected.digest, bytes, mediaType: expected.mediaType });
    this.#api.facts.manifests.keep(expected.digest, bytes, expected.mediaType);
    this.#api.delivered.add(expected.digest);
  }

  /** Gives a manifest that is there another name, or the same once more. */
  async putAs(reference: string, descriptor: Descriptor): Promise<void> {
    const { digest } = descriptor;
    const known = this.#api.facts.manifests.get(digest) ?? (await this.#readBack(descriptor));
    await this.put(reference, { digest, ...known });
  }

  async #readBack(descriptor: Descriptor): Promise<{ bytes: Buffer; mediaType: string }> {
    try {
      return { bytes: await this.#readAll(descriptor, this.fetch(descriptor)), mediaType: descriptor.mediaType };
    } catch (error) {
      const { code, at } = toMirrorError(error);
      if (code !== 'E_NOT_FOUND') throw error;
      throw new MirrorError('E_BLOB_UNKNOWN', `the target misses \`${at.item}\``, { at, cause: error });
    }
  }

  /** @param reference tag or digest */
  async put(reference: string, manifest: { digest: Digest; bytes: Buffer; mediaType: string }): Promise<void> {
    const { digest, bytes, mediaType } = manifest;
    const response = await this.#api.send({
      method: 'PUT',
      url: this.#api.url(`manifests/${reference}`),
      headers: { 'content-type': mediaType, 'content-length': String(bytes.length) },
      body: bytes,
      at: this.#api.place(reference),
      answerMs: manifestAnswerMs(bytes.length),
    });
    if (response.status >= 200 && response.status <= 202) {
      await response.discard();
      this.#api.checkDigest(response, digest);
      if (response.headers['oci-subject'] !== undefined) this.listed.add(digest);
      return;
    }
    const refusal = await this.#api.refusal(response, reference, true);
    if (!isDigest(reference) && [400, 403, 405, 409, 412, 422].includes(refusal.status)) {
      const holds = (await this.#head(reference).catch(() => undefined))?.digest;
      if (holds === digest) return;
      if (holds !== undefined && refusal.error.code !== 'E_BLOB_UNKNOWN')
        throw this.#immovable(reference, digest, holds, refusal);
    }
    if (refusal.name === 'DIGEST_INVALID' && isDigest(reference) && !reference.startsWith('sha256:'))
      throw this.#sha256Only(reference, refusal);
    throw this.#childUnknown(refusal, bytes, manifest);
  }

  /** The bytes were checked before they were sent: it is the algorithm that `distribution`, for one, does not know. */
  #sha256Only(digest: Digest, { error }: Refusal): MirrorError {
    const [algorithm = ''] = digest.split(':');
    return new MirrorError(
      'E_REFUSED',
      `\`${this.#api.item(digest)}\`: the registry takes no manifest by its ${algorithm}: ${error.message}`,
      {
        hint: 'name a registry that does, or an image layout (`oci:DIR`); an image that its source has by a tag goes by that tag',
        at: error.at,
        cause: error,
      },
    );
  }

  #immovable(tag: string, digest: Digest, holds: Digest, { error }: Refusal): MirrorError {
    return new MirrorError(
      'E_REFUSED',
      `the tag \`${this.#api.item(tag)}\` holds \`${holds}\` and may not be moved to \`${digest}\`: ${error.message}`,
      { hint: 'choose another tag, or delete this one at the target if it may go', at: error.at, cause: error },
    );
  }

  /** What is not found when a manifest is put has not arrived; or is out of sight, if it was delivered. */
  #childUnknown({ error, text }: Refusal, bytes: Buffer, { mediaType }: { mediaType: string }): MirrorError {
    if (error.code !== 'E_NOT_FOUND' && error.code !== 'E_BLOB_UNKNOWN') return error;
    const item = error.at.item ?? 'the manifest';
    const unknown = new MirrorError('E_BLOB_UNKNOWN', `the target misses a part of ${item}`, {
      hint: 'run the same command again',
      at: error.at,
      cause: error,
    });
    const { manifests, blobs } = parseManifest(bytes, mediaType, item);
    const children = [...manifests, ...blobs].filter((child) => !isForeign(child)).map(({ digest }) => digest);
    const named = children.filter((digest) => text.includes(digest));
    const missing = named.length > 0 ? named : children;
    if (missing.length === 0 || !missing.every((digest) => this.#api.delivered.has(digest))) return unknown;
    return new MirrorError('E_REMOTE', `the target does not see yet what it was given for ${item}`, {
      at: error.at,
      cause: unknown,
    });
  }

  /** Undefined when the answer does not say all that a descriptor needs. */
  async #head(reference: string): Promise<Descriptor | undefined> {
    const head = await this.#ask('HEAD', reference);
    if (head.status === 403 && this.#api.registry.side === 'target') {
      // So some answer for what is not there; who may not push is told so then.
      const { error } = await this.#api.refusal(head, reference);
      throw new MirrorError('E_NOT_FOUND', error.message, { at: error.at, cause: error });
    }
    // There are those who know GET only.
    if (head.status === 400 || head.status === 405) {
      await head.discard();
      return undefined;
    }
    if (head.status !== 200) throw await this.#api.failure(head, reference);
    await head.discard();
    // A digest that was asked for is what is wanted, whatever the server calls its answer.
    const digest = isDigest(reference) ? reference : (head.headers['docker-content-digest'] ?? '');
    const mediaType = mediaTypeOf(head);
    const size = Number(head.headers['content-length'] ?? Number.NaN);
    return isDigest(digest) && mediaType !== '' && Number.isSafeInteger(size) ? { mediaType, digest, size } : undefined;
  }

  async #ask(method: 'HEAD' | 'GET', reference: string, types = accept.accept): Promise<HttpResponse> {
    const url = this.#api.url(`manifests/${reference}`);
    return this.#api.send({ method, url, headers: { accept: types }, at: this.#api.place(reference) });
  }

  async #readAll(descriptor: Descriptor, content: Content, signal?: AbortSignal): Promise<Buffer> {
    const item = this.#api.item(descriptor.digest);
    checkManifestSize(descriptor, item);
    return readVerified(content, expectationOf(descriptor, item), signal);
  }
}

export const accept = { accept: manifestMediaTypes.join(', ') };

/** Without parameters. */
export function mediaTypeOf(response: HttpResponse): string {
  return (response.headers['content-type'] ?? '').split(';')[0]?.trim() ?? '';
}

/** What the answer to a HEAD says. Where something may be pushed, a 403 is no reason not to try. */
export async function isThere(api: RepositoryApi, head: HttpResponse, digest: Digest): Promise<boolean> {
  await head.discard();
  if (head.status === 200) return true;
  if (head.status === 404 || (head.status === 403 && api.registry.side === 'target')) return false;
  throw await api.failure(head, digest);
}

/** The bytes behind a path of the repository. */
export function contentAt(
  api: RepositoryApi,
  descriptor: Descriptor,
  path: string,
  headers: Record<string, string>,
): Content {
  const { digest, size } = descriptor;
  const at = api.place(digest);
  const once = async (range: Record<string, string>, signal?: AbortSignal): Promise<HttpResponse> => {
    const url = api.url(path);
    const bulk = size >= bulkBytes;
    return api.send({ method: 'GET', url, headers: { ...headers, ...range }, at, signal, bulk });
  };
  const send = async (range: Record<string, string>, signal?: AbortSignal): Promise<HttpResponse> => {
    let response = await once(range, signal);
    if (refusesRange(response, range['range'])) {
      await response.discard();
      response = await once({}, signal);
    }
    if (response.status >= 400) throw await api.failure(response, digest);
    return response;
  };
  return { size, open: (offset, signal) => openRange((range) => send(range, signal), offset, size, at) };
}

/** A registry that has no use for ranges answers with everything; others refuse, or send another part: they are asked for everything. */
function refusesRange({ status, headers }: HttpResponse, asked: string | undefined): boolean {
  const from = /^bytes=(\d+)-/.exec(asked ?? '')?.[1];
  if (from === undefined) return false;
  return (
    [400, 416, 501].includes(status) ||
    (status === 206 && headers['content-range']?.startsWith(`bytes ${from}-`) !== true)
  );
}
