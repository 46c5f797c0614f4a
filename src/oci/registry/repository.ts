import type { Descriptor } from '../../core/descriptor.ts';
import { type Digest, isDigest } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import type { Content, ContentTarget } from '../../core/ports.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import type { SharedPause } from '../../http/retry.ts';
import { contentAt, isThere, Manifests } from '../manifests.ts';
import { Referrers } from './referrers.ts';
import type { RepositoryApi } from './repository-api.ts';
import { isManifest } from '../types.ts';
import { Uploads } from './upload.ts';

/** Registries before distribution 3 list all tags at once, however many were asked for. */
const tagsLimit = 64 * 1024 * 1024;

const tagsSchema = z.object({ tags: z.array(z.string()).nullish() });

/** One repository of a registry: https://github.com/opencontainers/distribution-spec/blob/main/spec.md */
export class RegistryRepository implements ContentTarget {
  readonly #api: RepositoryApi;
  readonly #manifests: Manifests;
  readonly #uploads: Uploads;
  readonly #referrers: Referrers;

  constructor(api: RepositoryApi) {
    this.#api = api;
    this.#manifests = new Manifests(api);
    this.#uploads = new Uploads(api);
    this.#referrers = new Referrers(api, this.#manifests);
  }

  /** What all repositories of the host wait for. */
  get pause(): SharedPause {
    return this.#api.facts.pause;
  }

  async resolve(reference: string): Promise<Descriptor> {
    return this.#manifests.resolve(reference);
  }

  async exists(descriptor: Descriptor): Promise<boolean> {
    if (isManifest(descriptor)) return this.#manifests.exists(descriptor);
    const { digest } = descriptor;
    const url = this.#api.url(`blobs/${digest}`);
    const there = await isThere(
      this.#api,
      await this.#api.send({ method: 'HEAD', url, at: this.#api.place(digest) }),
      digest,
    );
    if (there) this.#api.facts.blobs.note(digest, this.#api.name);
    return there;
  }

  async fetch(descriptor: Descriptor): Promise<Content> {
    if (isManifest(descriptor)) return this.#manifests.fetch(descriptor);
    // That it lies there is a guess until it is read; a mount that fails costs nothing.
    this.#api.facts.blobs.note(descriptor.digest, this.#api.name);
    return contentAt(this.#api, descriptor, `blobs/${descriptor.digest}`, {});
  }

  async push(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    if (isManifest(expected)) await this.#manifests.push(expected, content, signal);
    else await this.#uploads.push(expected, content, signal);
  }

  async pushMade(name: string, content: Content, signal?: AbortSignal): Promise<Digest> {
    return this.#uploads.pushMade(name, content, signal);
  }

  async tag(descriptor: Descriptor, reference: string): Promise<void> {
    if (!isDigest(reference)) await this.#manifests.putAs(reference, descriptor);
  }

  async tags(): Promise<string[]> {
    const tags: string[] = [];
    for await (const response of this.#api.pages('tags/list?n=1000', '')) {
      if (response.status !== 200) {
        const { name, error } = await this.#api.refusal(response, '');
        // A repository without tags is unknown to some; others have no such lists at all.
        if (response.status === 404 && name === 'NAME_UNKNOWN') break;
        throw error;
      }
      const bytes = await response.bytes(tagsLimit);
      const page = validate(tagsSchema, parseJson(bytes, 'tags', 'E_PROTOCOL'), 'tags', 'E_PROTOCOL');
      tags.push(...(page.tags ?? []));
    }
    this.#referrers.learnTags(tags);
    return tags;
  }

  async isEmpty(): Promise<boolean> {
    const at = this.#api.place('');
    try {
      const response = await this.#api.send({ method: 'GET', url: this.#api.url('tags/list?n=1'), at });
      if (response.status !== 200) {
        await response.discard();
        return response.status === 404;
      }
      const { tags } = tagsSchema.parse(parseJson(await response.bytes(), 'tags'));
      return (tags ?? []).length === 0;
    } catch (error) {
      if (error instanceof MirrorError && error.code === 'E_ABORTED') throw error;
      return false;
    }
  }

  /** By the referrers API, and where there is none by the tag that stands in for it. */
  async referrers(subject: Descriptor): Promise<Descriptor[]> {
    return this.#referrers.list(subject);
  }

  async attach(subject: Descriptor, referrers: readonly Descriptor[]): Promise<void> {
    await this.#referrers.attach(subject, referrers);
  }
}
