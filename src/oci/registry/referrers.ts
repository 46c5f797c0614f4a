import type { Descriptor } from '../../core/descriptor.ts';
import { digestLike, sha256 } from '../../core/digest.ts';
import { MirrorError, placeError } from '../../core/errors.ts';
import { KeyedQueue } from '../../core/limit.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { type HttpResponse } from '../../http/client.ts';
import { accept, type Manifests, mediaTypeOf } from '../manifests.ts';
import { digestTag, fallbackTag } from '../reference.ts';
import type { RepositoryApi } from './repository-api.ts';
import { descriptorSchema, mediaTypes } from '../types.ts';

// Go writes an empty list as null.
const indexSchema = z.object({ manifests: z.array(descriptorSchema).nullish() });

/** Will not pass, though it is a status of servers. */
const notImplemented = 501;

/** How often an index is written again that somebody else has written over. */
const maxRounds = 5;

/** What is behind the fallback tag of a subject. */
type Fallback =
  | { kind: 'none' }
  | { kind: 'index'; manifests: Descriptor[]; document: { manifests?: unknown[] | null } }
  /** Something that is no list of referrers, and must not be written over. */
  | { kind: 'other'; what: string };

/**
 * What refers to a subject in one repository: the referrers API, and where it is missing the index behind the tag
 * `sha256-<hex>`, which clients maintain.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
export class Referrers {
  readonly #api: RepositoryApi;
  readonly #manifests: Manifests;
  readonly #attaching = new KeyedQueue();
  /** Fallback tags that the source was seen to have; undefined when nobody has listed its tags. */
  #tags: Set<string> | undefined;

  constructor(api: RepositoryApi, manifests: Manifests) {
    this.#api = api;
    this.#manifests = manifests;
  }

  /** All tags of the repository: of a source, which does not change, it need not be asked again. */
  learnTags(tags: readonly string[]): void {
    if (this.#api.registry.side === 'source')
      this.#tags = new Set(tags.filter((tag) => digestTag(tag)?.kind === 'index'));
  }

  async list(subject: Descriptor): Promise<Descriptor[]> {
    const listed = await this.#fromApi(subject);
    if (listed) return listed;
    if (this.#tags?.has(fallbackTag(subject.digest)) === false) return [];
    const fallback = await this.#fallback(subject);
    return fallback.kind === 'index' ? fallback.manifests : [];
  }

  /** @throws E_REFUSED when they cannot be made to be found without destroying something */
  async attach(subject: Descriptor, referrers: readonly Descriptor[]): Promise<void> {
    // The index is read, merged and written back: two writers at once would lose entries.
    await this.#attaching.run(subject.digest, async () => {
      const listed = await this.#fromApi(subject);
      if (listed) await this.#expectListed(subject, missingIn(listed, referrers));
      else await this.#attachByTag(subject, referrers);
    });
  }

  /** Undefined when there is no referrers API. */
  async #fromApi(subject: Descriptor): Promise<Descriptor[] | undefined> {
    const { facts } = this.#api;
    if (facts.referrersApi === undefined) {
      const first = await facts.asking.run('referrers', async () =>
        facts.referrersApi === undefined ? { list: await this.#ask(subject) } : undefined,
      );
      if (first) return first.list;
    }
    return facts.referrersApi === false ? undefined : this.#ask(subject);
  }

  async #ask(subject: Descriptor): Promise<Descriptor[] | undefined> {
    const found: Descriptor[] = [];
    const headers = { accept: mediaTypes.ociIndex };
    for await (const response of this.#api.pages(`referrers/${subject.digest}`, subject.digest, headers)) {
      if (response.status !== 200) return this.#learnRefusal(response, subject);
      const listed = await this.#listedIn(response, subject);
      if (!listed) return undefined;
      this.#api.facts.referrersApi = true;
      found.push(...listed);
    }
    return found;
  }

  /** Undefined for a page of something else: there are servers that answer any address with one. @throws E_PROTOCOL */
  async #listedIn(response: HttpResponse, { digest }: Descriptor): Promise<Descriptor[] | undefined> {
    const isIndex = mediaTypeOf(response) === mediaTypes.ociIndex;
    const bytes = await response.bytes();
    try {
      const what = `referrers of ${digest}`;
      return validate(indexSchema, parseJson(bytes, what, 'E_PROTOCOL'), what, 'E_PROTOCOL').manifests ?? [];
    } catch (error) {
      if (isIndex || this.#api.facts.referrersApi === true) throw placeError(error, this.#api.place(digest));
      this.#api.facts.referrersApi = false;
      return undefined;
    }
  }

  /** @throws what says nothing of the API */
  async #learnRefusal(response: HttpResponse, subject: Descriptor): Promise<undefined> {
    const { status, name, error } = await this.#api.refusal(response, subject.digest);
    if ((error.retryable && status !== notImplemented) || status === 401) throw error;
    // A repository that is not there yet says nothing of its registry.
    const tells = status !== 403 && name !== 'NAME_UNKNOWN';
    if (tells && this.#api.facts.referrersApi === undefined) this.#api.facts.referrersApi = false;
    return undefined;
  }

  /** A registry with the API lists what names its subject by itself; some lose what comes at once. */
  async #expectListed(subject: Descriptor, missing: readonly Descriptor[]): Promise<void> {
    if (missing.length === 0) return;
    for (const referrer of missing) await this.#manifests.putAs(referrer.digest, referrer);
    const lost = missingIn((await this.#fromApi(subject)) ?? [], missing);
    if (lost.length > 0)
      throw new MirrorError(
        'E_REFUSED',
        `the registry took ${lost.length} referrers of \`${subject.digest}\` and does not list them`,
        {
          hint: 'run the same command again; `copy --no-referrers` leaves them out',
          at: this.#api.place(subject.digest),
        },
      );
  }

  async #attachByTag(subject: Descriptor, referrers: readonly Descriptor[]): Promise<void> {
    // What the registry said to have listed is not for us to list.
    const ours = referrers.filter(({ digest }) => !this.#manifests.listed.has(digest));
    for (let round = 1; ; round += 1) {
      const fallback = await this.#fallback(subject);
      if (fallback.kind === 'other') throw this.#occupied(subject, fallback.what);
      const present = fallback.kind === 'index' ? fallback : { manifests: [], document: { manifests: [] } };
      const missing = missingIn(present.manifests, ours);
      if (missing.length === 0) return;
      // Another process has written its own index over ours, and will do so again unless one of us gives way.
      if (round > maxRounds)
        throw new MirrorError('E_REMOTE', `others keep writing over the referrers of \`${subject.digest}\``, {
          at: this.#api.place(subject.digest),
        });
      const bytes = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: mediaTypes.ociIndex,
          ...present.document,
          manifests: [...(present.document.manifests ?? []), ...missing],
        }),
      );
      const index = { digest: sha256(bytes), bytes, mediaType: mediaTypes.ociIndex };
      await this.#manifests.put(fallbackTag(subject.digest), index);
    }
  }

  #occupied(subject: Descriptor, what: string): MirrorError {
    return new MirrorError(
      'E_REFUSED',
      `referrers of \`${subject.digest}\` cannot be listed: the tag for them, \`${fallbackTag(subject.digest)}\`, gives ${what}`,
      {
        hint: 'this registry has no referrers API and keeps that tag for itself: name one that has it; `copy --no-referrers` leaves them out',
        at: this.#api.place(subject.digest),
      },
    );
  }

  async #fallback(subject: Descriptor): Promise<Fallback> {
    const { digest } = subject;
    const url = this.#api.url(`manifests/${fallbackTag(digest)}`);
    const response = await this.#api.send({ method: 'GET', url, headers: accept, at: this.#api.place(digest) });
    if (response.status === 404 || (response.status === 403 && this.#api.registry.side === 'target')) {
      await response.discard();
      return { kind: 'none' };
    }
    if (response.status !== 200) throw await this.#api.failure(response, fallbackTag(digest));
    const bytes = await response.bytes();
    if (digestLike(digest, bytes) === digest) return { kind: 'other', what: 'the subject itself' };
    const mediaType = mediaTypeOf(response);
    if (mediaType !== mediaTypes.ociIndex) return { kind: 'other', what: `a \`${mediaType}\`` };
    const json = parseJson(bytes, fallbackTag(digest), 'E_PROTOCOL');
    const { manifests } = validate(indexSchema, json, fallbackTag(digest), 'E_PROTOCOL');
    return { kind: 'index', manifests: manifests ?? [], document: json as { manifests?: unknown[] | null } };
  }
}

function missingIn(listed: readonly Descriptor[], wanted: readonly Descriptor[]): Descriptor[] {
  const there = new Set(listed.map(({ digest }) => digest));
  const missing = new Map(wanted.filter(({ digest }) => !there.has(digest)).map((each) => [each.digest, each]));
  return [...missing.values()];
}
