import type { Digest } from '../core/digest.ts';
import { type ErrorCode, MirrorError } from '../core/errors.ts';
import type { Limit } from '../core/limit.ts';
import type { ContentSource } from '../core/ports.ts';
import { digestTag, fallbackTag } from './reference.ts';
import { resolved } from './side.ts';

const kinds = ['sig', 'att', 'sbom'] as const;

/**
 * The tags by which cosign names what belongs to a digest. They are looked up in the list of tags, which is read once; where
 * a source does not show one, they are asked for one by one.
 * https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
export class DigestTags {
  readonly #source: ContentSource;
  readonly #limit: Limit;
  #listed: Promise<Map<Digest, string[]> | undefined> | undefined;

  constructor(source: ContentSource, limit: Limit) {
    this.#source = source;
    this.#limit = limit;
  }

  /** @throws what the source says, but that it does not list its tags */
  async of(subject: Digest): Promise<string[]> {
    this.#listed ??= this.#limit(() => this.#list());
    const listed = await this.#listed;
    return listed ? (listed.get(subject) ?? []) : this.#askFor(subject);
  }

  /** Undefined when the list is not to be had. */
  async #list(): Promise<Map<Digest, string[]> | undefined> {
    const tags = await this.#source.tags().catch(unlessUnlisted);
    if (!tags) return undefined;
    const found = new Map<Digest, string[]>();
    for (const tag of tags) {
      const named = digestTag(tag);
      // The bare form is the stand-in for the referrers API: `attach` makes it anew at the target.
      if (named && named.kind !== 'index') found.set(named.subject, [...(found.get(named.subject) ?? []), tag]);
    }
    return found;
  }

  async #askFor(subject: Digest): Promise<string[]> {
    const tags = kinds.map((kind) => `${fallbackTag(subject)}.${kind}`);
    const there = await Promise.all(tags.map((tag) => this.#limit(() => resolved(this.#source, tag))));
    return tags.filter((_, place) => there[place]);
  }
}

/** What a list is answered with that is not given, by who gives images all the same. */
const withoutList: readonly ErrorCode[] = ['E_AUTH', 'E_REFUSED', 'E_NOT_FOUND', 'E_REMOTE'];

/**
 * Who may read an image may not always list what else there is; some registries have no list at all, and some are not
 * done with a long one in time.
 */
function unlessUnlisted(error: unknown): undefined {
  if (!(error instanceof MirrorError && withoutList.includes(error.code))) throw error;
  return undefined;
}
