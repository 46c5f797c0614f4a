import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { MirrorError, toMirrorError } from '../core/errors.ts';
import { forEachBySize, type Limit, limitTo, requestsAtOnce } from '../core/limit.ts';
import type { ContentSource } from '../core/ports.ts';
import { expectationOf, readVerified } from '../core/stream.ts';
import { DigestTags } from './digest-tags.ts';
import { resolved } from './side.ts';
import {
  checkManifestSize,
  isForeign,
  isManifest,
  type ManifestDocument,
  parseManifest,
  parseUnknownManifest,
} from './types.ts';

/** A manifest or blob of an image that is not there, or not what its digest says. */
export interface ImageFlaw {
  digest: Digest;
  error: MirrorError;
  /** Of a blob: the manifests that name it. */
  namedBy: Digest[];
}

/** What was found of an image. */
export interface ImageCheck {
  flaws: ImageFlaw[];
  /** Manifests and blobs that were read, whole or not. */
  checked: number;
  /** Bytes of them. */
  bytes: number;
  /** Referrers that lie there beside what was wanted; nobody looked into them. */
  more: Digest[];
  /** Blobs that are there; what they have to be stands in a manifest that is damaged or missing. */
  unjudged: Digest[];
}

export interface ImageCheckOptions {
  /** Everything that the image is to consist of, its referrers included; when not given, it is what its manifests name. */
  wanted?: readonly Digest[] | undefined;
  /** Reads a blob and compares it with its descriptor. Throws what is wrong with it. */
  prove: (blob: Descriptor) => Promise<void>;
  slots: number;
  onTotal: (bytes: number) => void;
  signal?: AbortSignal | undefined;
}

/** As deep as indexes nest, and referrers of referrers go; what goes on and on is made up while it is asked for. */
const maxDepth = 16;
const maxManifests = 20_000;

/**
 * Reads every manifest and every blob of an image once, from its root, and what of `wanted` refers to any part of it. Unlike
 * a copy it goes on past what is damaged or missing, and names all of it.
 * @throws what says nothing of the content: no access, no connection
 */
export async function checkImage(
  source: ContentSource,
  root: Digest | Descriptor,
  options: ImageCheckOptions,
): Promise<ImageCheck> {
  const walk = new ImageWalk(source, options);
  return walk.run(root);
}

class ImageWalk {
  readonly #source: ContentSource;
  readonly #options: ImageCheckOptions;
  readonly #limit: Limit;
  readonly #wanted: ReadonlySet<Digest> | undefined;
  readonly #flaws = new Map<Digest, MirrorError>();
  readonly #namedBy = new Map<Digest, Digest[]>();
  readonly #manifests = new Map<Digest, Descriptor>();
  readonly #blobs = new Map<Digest, Descriptor>();
  readonly #more = new Set<Digest>();
  readonly #unjudged: Digest[] = [];

  constructor(source: ContentSource, options: ImageCheckOptions) {
    this.#source = source;
    this.#options = options;
    this.#limit = limitTo(requestsAtOnce(options.slots));
    this.#wanted = options.wanted && new Set(options.wanted);
  }

  async run(root: Digest | Descriptor): Promise<ImageCheck> {
    const start = typeof root === 'string' ? await this.#resolve(root) : root;
    if (start) await this.#descend([start], 0);
    await this.#around();
    await this.#leftOver();
    const blobs = [...this.#blobs.values()].filter(({ digest }) => !this.#manifests.has(digest));
    const sum = (all: Iterable<Descriptor>): number => [...all].reduce((bytes, { size }) => bytes + size, 0);
    this.#options.onTotal(sum(blobs));
    await forEachBySize(blobs, this.#options.slots, async (blob) => {
      await this.#note(blob.digest, () => this.#options.prove(blob));
    });
    return {
      flaws: [...this.#flaws].map(([digest, error]) => ({ digest, error, namedBy: this.#namedBy.get(digest) ?? [] })),
      checked: this.#manifests.size + blobs.length,
      bytes: sum(blobs) + sum(this.#manifests.values()),
      more: [...this.#more],
      unjudged: this.#unjudged,
    };
  }

  /** These manifests and all below them. */
  async #descend(manifests: readonly Descriptor[], depth: number): Promise<void> {
    const fresh = manifests.filter(({ digest }) => !this.#manifests.has(digest));
    if (fresh.length === 0) return;
    for (const each of fresh) this.#manifests.set(each.digest, each);
    const [first] = fresh;
    if (depth > maxDepth || this.#manifests.size > maxManifests) {
      if (first) this.#flaws.set(first.digest, tooDeep(first.digest));
      return;
    }
    const children = await Promise.all(fresh.map(async (each) => this.#childrenOf(each)));
    await this.#descend(children.flat(), depth + 1);
  }

  async #childrenOf(manifest: Descriptor): Promise<Descriptor[]> {
    let document: ManifestDocument | undefined;
    await this.#note(manifest.digest, async () => {
      document = await this.#read(manifest);
    });
    const { manifests = [], blobs = [] } = document ?? {};
    const isMeant = (each: Descriptor): boolean => this.#wanted?.has(each.digest) ?? !isForeign(each);
    for (const blob of blobs.filter(isMeant)) {
      this.#blobs.set(blob.digest, blob);
      this.#namedBy.set(blob.digest, [...(this.#namedBy.get(blob.digest) ?? []), manifest.digest]);
    }
    // What an index lists is a manifest, of whatever type.
    return manifests.filter(isMeant).map((each) => (isManifest(each) ? each : { ...each, isManifest: true }));
  }

  /** Undefined for what stands among manifests and is none: it has the right bytes, and leads nowhere. */
  async #read(descriptor: Descriptor): Promise<ManifestDocument | undefined> {
    const { digest, mediaType } = descriptor;
    checkManifestSize(descriptor, digest);
    const content = await this.#limit(async () => this.#source.fetch(descriptor));
    const bytes = await this.#limit(async () => readVerified(content, expectationOf(descriptor), this.#options.signal));
    return descriptor.isManifest === true
      ? parseUnknownManifest(bytes, mediaType, digest)
      : parseManifest(bytes, mediaType, digest);
  }

  /** What refers to a manifest of the image, and what refers to that: a wanted one counts as found only by such a way. */
  async #around(): Promise<void> {
    if (this.#left().length === 0) return;
    const tags = new DigestTags(this.#source, this.#limit);
    const asked = new Set<Digest>();
    for (let depth = 0; depth <= maxDepth; depth += 1) {
      const fresh = [...this.#manifests.values()].filter(({ digest }) => !asked.has(digest));
      if (fresh.length === 0) return;
      for (const { digest } of fresh) asked.add(digest);
      const found = (await Promise.all(fresh.map(async (subject) => this.#referrersOf(subject, tags)))).flat();
      for (const { digest } of found) if (!this.#wanted?.has(digest)) this.#more.add(digest);
      await this.#descend(
        found.filter(({ digest }) => this.#wanted?.has(digest)),
        0,
      );
    }
  }

  async #referrersOf(subject: Descriptor, tags: DigestTags): Promise<Descriptor[]> {
    const listed = await this.#limit(() => this.#source.referrers(subject));
    const named = await tags.of(subject.digest);
    const tagged = await Promise.all(named.map(async (tag) => this.#limit(() => resolved(this.#source, tag))));
    const all = [...listed, ...tagged.filter((each) => each !== undefined)];
    return all.map((each) => (isManifest(each) ? each : { ...each, isManifest: true }));
  }

  /** What nothing leads to may still lie there: a list of referrers or a tag has lost it. What does not lie there is missing. */
  async #leftOver(): Promise<void> {
    const there = await Promise.all(
      this.#left().map(async (digest) => this.#limit(() => resolved(this.#source, digest))),
    );
    const lost = there.filter((each) => each !== undefined);
    for (const { digest } of lost) this.#flaws.set(digest, notFound(digest));
    await this.#descend(lost, 0);
    const asBlobs = await Promise.all(
      this.#left().map(async (digest) => {
        const blob = { mediaType: 'application/octet-stream', digest, size: 0 };
        return { digest, isThere: await this.#limit(() => this.#source.exists(blob)) };
      }),
    );
    // Of an image that is gone altogether the root says it all.
    if (this.#manifests.size === 0 && asBlobs.every(({ isThere }) => !isThere)) return;
    for (const { digest, isThere } of asBlobs) if (!isThere) this.#flaws.set(digest, missing(digest));
    // The manifest that says what it is may be damaged; then that is what is wrong.
    const isExplained = this.#flaws.size > 0;
    for (const { digest, isThere } of asBlobs)
      if (isThere && isExplained) this.#unjudged.push(digest);
      else if (isThere) this.#flaws.set(digest, notFound(digest));
  }

  /** What is wanted, and nothing leads to. */
  #left(): Digest[] {
    return [...(this.#wanted ?? [])].filter((digest) => !this.#isReached(digest));
  }

  #isReached(digest: Digest): boolean {
    return this.#manifests.has(digest) || this.#blobs.has(digest);
  }

  async #resolve(digest: Digest): Promise<Descriptor | undefined> {
    const found = await resolved(this.#source, digest);
    if (!found) this.#flaws.set(digest, missing(digest));
    return found;
  }

  /** What is wrong with the content is kept; everything else is thrown. */
  async #note(digest: Digest, work: () => Promise<void>): Promise<void> {
    this.#options.signal?.throwIfAborted();
    try {
      await work();
    } catch (error) {
      const known = toMirrorError(error);
      if (known.code === 'E_NOT_FOUND') this.#flaws.set(digest, missing(digest, known));
      else if (known.exit === 4) this.#flaws.set(digest, known);
      else throw known;
    }
  }
}

function notFound(digest: Digest): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${digest}\` is there, and nothing of the image leads to it any more`);
}

function missing(digest: Digest, cause?: MirrorError): MirrorError {
  return new MirrorError('E_MISSING', `\`${digest}\` is missing`, cause === undefined ? {} : { cause });
}

function tooDeep(digest: Digest): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${digest}\` belongs to an image without end`);
}
