import { setMaxListeners } from 'node:events';
import type { Descriptor } from '../core/descriptor.ts';
import { checksumOf, type Digest } from '../core/digest.ts';
import { MirrorError, placeError, toMirrorError } from '../core/errors.ts';
import type { Reporter } from '../core/events.ts';
import { type Limit, limitTo, requestsAtOnce, smallBody } from '../core/limit.ts';
import type { Content, ContentSource, ContentTarget } from '../core/ports.ts';
import { contentOf, counted, readVerified } from '../core/stream.ts';
import { digestTag } from './reference.ts';
import { checkManifestSize, isForeign, isManifest, type ManifestDocument, parseManifest } from './types.ts';

/** A manifest with everything that is reached from it; indexes may nest. */
export interface GraphNode {
  descriptor: Descriptor;
  bytes: Buffer;
  document: ManifestDocument;
  children: GraphNode[];
}

/** All that one image is: its graph, what refers to any part of it, and the tags that cosign names after a digest. */
export interface ImageGraph {
  root: GraphNode;
  attached: { subject: Descriptor; referrer: GraphNode }[];
  tagged: { tag: string; node: GraphNode }[];
}

export interface GraphOptions {
  /** Large bodies that move at once. */
  slots: number;
  referrers: boolean;
  signal?: AbortSignal | undefined;
}

const maxDepth = 16;
const maxManifests = 20_000;

/**
 * Reads every manifest of an image from its source, children and referrers included, and verifies each.
 * @throws E_NOT_FOUND, E_DIGEST_MISMATCH, E_CORRUPT
 */
export async function readImage(source: ContentSource, root: Descriptor, options: GraphOptions): Promise<ImageGraph> {
  const reader = new GraphReader(source, options);
  const image: ImageGraph = { root: await reader.read(root, 0), attached: [], tagged: [] };
  if (options.referrers) await reader.readReferrers(image);
  return image;
}

class GraphReader {
  readonly #source: ContentSource;
  readonly #limit: Limit;
  readonly #signal: AbortSignal | undefined;
  readonly #nodes = new Map<Digest, Promise<GraphNode>>();

  constructor(source: ContentSource, options: GraphOptions) {
    this.#source = source;
    this.#limit = limitTo(requestsAtOnce(options.slots));
    this.#signal = options.signal;
  }

  async read(descriptor: Descriptor, depth: number): Promise<GraphNode> {
    if (depth > maxDepth)
      throw new MirrorError('E_CORRUPT', `\`${descriptor.digest}\` nests indexes more than ${maxDepth} deep`, {
        at: { side: 'source', item: descriptor.digest },
      });
    if (this.#nodes.size > maxManifests)
      throw new MirrorError('E_CORRUPT', `the image has more than ${maxManifests} manifests`, {
        at: { side: 'source' },
      });
    let node = this.#nodes.get(descriptor.digest);
    if (!node) {
      node = this.#fetch(descriptor, depth);
      this.#nodes.set(descriptor.digest, node);
    }
    return node;
  }

  async #fetch(descriptor: Descriptor, depth: number): Promise<GraphNode> {
    const { digest, size } = descriptor;
    const { bytes, document } = await at('source', digest, async () => {
      checkManifestSize(descriptor, digest);
      const bytes = await this.#limit(async () => {
        const content = await this.#source.fetch(descriptor);
        return readVerified(content, { size, checksum: checksumOf(digest), item: digest }, this.#signal);
      });
      return { bytes, document: parseManifest(bytes, descriptor.mediaType, digest) };
    });
    const children = await Promise.all(
      document.manifests.filter(isManifest).map((child) => this.read(child, depth + 1)),
    );
    return { descriptor: { ...descriptor, mediaType: document.mediaType }, bytes, document, children };
  }

  /** Looks from every manifest that has been found, so that signatures of SBOMs and the like come too. */
  async readReferrers(image: ImageGraph): Promise<void> {
    const tags = await this.#digestTags();
    const asked = new Set<Digest>();
    let fresh = manifestsOf(image.root);
    while (fresh.length > 0) {
      const found = await Promise.all(
        fresh.map((node) => this.#around(node.descriptor, tags.get(node.descriptor.digest) ?? [], image)),
      );
      for (const { descriptor } of fresh) asked.add(descriptor.digest);
      const next = new Map(
        found
          .flat()
          .flatMap(manifestsOf)
          .map((node) => [node.descriptor.digest, node]),
      );
      fresh = [...next.values()].filter(({ descriptor }) => !asked.has(descriptor.digest));
    }
  }

  async #around(subject: Descriptor, tags: readonly string[], image: ImageGraph): Promise<GraphNode[]> {
    const referrers = (await this.#limit(() => this.#source.referrers(subject))).filter(isManifest);
    const attached = await Promise.all(
      referrers.map(async (descriptor) => ({
        subject,
        referrer: describe(await this.read(descriptor, 0), descriptor),
      })),
    );
    const tagged = await Promise.all(
      tags.map(async (tag) => ({ tag, node: await this.read(await this.#limit(() => this.#source.resolve(tag)), 0) })),
    );
    image.attached.push(...attached);
    image.tagged.push(...tagged);
    return [...attached.map(({ referrer }) => referrer), ...tagged.map(({ node }) => node)];
  }

  async #digestTags(): Promise<Map<Digest, string[]>> {
    const found = new Map<Digest, string[]>();
    for (const tag of await this.#source.tags()) {
      const named = digestTag(tag);
      // The bare form is the stand-in for the referrers API: `attach` makes it anew at the target.
      if (named && named.kind !== 'index') found.set(named.subject, [...(found.get(named.subject) ?? []), tag]);
    }
    return found;
  }
}

/** The list of referrers carries artifactType and annotations that the manifest's own descriptor may lack. */
function describe(node: GraphNode, listed: Descriptor): GraphNode {
  return { ...node, descriptor: { ...listed, ...node.descriptor } };
}

/** A manifest and all below it, each once, however often indexes name it. */
function manifestsOf(node: GraphNode): GraphNode[] {
  const found = new Map<Digest, GraphNode>();
  const visit = (each: GraphNode): void => {
    if (found.has(each.descriptor.digest)) return;
    found.set(each.descriptor.digest, each);
    each.children.forEach(visit);
  };
  visit(node);
  return [...found.values()];
}

/** Every descriptor of an image, each once. */
export function descriptorsOf(image: ImageGraph): Descriptor[] {
  const roots = [
    image.root,
    ...image.attached.map(({ referrer }) => referrer),
    ...image.tagged.map(({ node }) => node),
  ];
  const all = new Map<Digest, Descriptor>();
  for (const node of roots.flatMap(manifestsOf)) {
    all.set(node.descriptor.digest, node.descriptor);
    for (const blob of blobsOf(node)) all.set(blob.digest, blob);
  }
  return [...all.values()];
}

function blobsOf(node: GraphNode): Descriptor[] {
  return [...node.document.blobs, ...node.document.manifests.filter((child) => !isManifest(child))].filter(
    (blob) => !isForeign(blob),
  );
}

export interface CopyOptions {
  slots: number;
  report: Reporter;
  signal?: AbortSignal | undefined;
}

export interface CopyTally {
  copied: number;
  copiedBytes: number;
  present: number;
  presentBytes: number;
}

/**
 * The one copy algorithm. Skips what the target has, pushes children before parents, then referrers, and tags last, so
 * that whatever can be found at the target is whole. Waiting for children holds no slot.
 * @param reference tag or digest under which the root is to be found
 */
export async function copyImage(
  source: ContentSource,
  target: ContentTarget,
  image: ImageGraph,
  reference: string,
  options: CopyOptions,
): Promise<CopyTally> {
  const run = new CopyRun(source, target, options);
  await run.node(image.root);
  const attached = bySubject(image);
  // Referrers of one subject go one after the other: there are registries that lose some of those put at once.
  const inTurn = (nodes: readonly GraphNode[]) => async (): Promise<void> => {
    for (const node of nodes) await run.node(node);
  };
  await run.all([...[...attached.values()].map(inTurn), ...image.tagged.map(({ node }) => inTurn([node]))]);
  for (const [subject, referrers] of attached) await run.attach(subject, referrers);
  for (const { tag, node } of image.tagged) await run.tag(node, tag);
  await run.tag(image.root, reference);
  return run.tally;
}

function bySubject(image: ImageGraph): Map<Descriptor, GraphNode[]> {
  const subjects = new Map<Descriptor, GraphNode[]>();
  for (const { subject, referrer } of image.attached)
    subjects.set(subject, [...(subjects.get(subject) ?? []), referrer]);
  return subjects;
}

/** What a tag or digest names; undefined when it names nothing. */
export async function resolved(source: ContentSource, reference: string): Promise<Descriptor | undefined> {
  try {
    return await source.resolve(reference);
  } catch (error) {
    if (error instanceof MirrorError && error.code === 'E_NOT_FOUND') return undefined;
    throw error;
  }
}

class CopyRun {
  readonly tally: CopyTally = { copied: 0, copiedBytes: 0, present: 0, presentBytes: 0 };
  readonly #source: ContentSource;
  readonly #target: ContentTarget;
  readonly #options: CopyOptions;
  readonly #bodies: Limit;
  readonly #requests: Limit;
  readonly #done = new Map<Digest, Promise<void>>();
  readonly #forced = new Map<Digest, Promise<void>>();
  readonly #stop = new AbortController();
  #failed: { error: unknown } | undefined;
  readonly #signal: AbortSignal;

  constructor(source: ContentSource, target: ContentTarget, options: CopyOptions) {
    this.#source = source;
    this.#target = target;
    this.#options = options;
    this.#bodies = limitTo(options.slots);
    this.#requests = limitTo(requestsAtOnce(options.slots));
    this.#signal = options.signal ? AbortSignal.any([options.signal, this.#stop.signal]) : this.#stop.signal;
    // Every blob listens.
    setMaxListeners(0, this.#signal);
  }

  async node(node: GraphNode): Promise<void> {
    await once(this.#done, node.descriptor, async () => {
      const there = await this.#exists(node.descriptor);
      if (there && !this.#target.local) {
        this.#count(
          manifestsOf(node).flatMap((each) => [each.descriptor, ...blobsOf(each)]),
          'present',
        );
        return;
      }
      await this.#children(node, false);
      if (there) this.#count([node.descriptor], 'present');
      else await this.#pushManifest(node);
    });
  }

  async tag(node: GraphNode, reference: string): Promise<void> {
    const now = await resolved(this.#target, reference);
    if (now?.digest === node.descriptor.digest) return;
    await healing(
      () => this.#children(node, true),
      () => at('target', reference, () => this.#target.tag(node.descriptor, reference)),
    );
  }

  async #children(node: GraphNode, force: boolean): Promise<void> {
    await this.all([
      ...node.children.map((child) => () => (force ? this.#forceNode(child) : this.node(child))),
      ...blobsOf(node).map((blob) => () => (force ? this.#force(blob, () => this.#pushBlob(blob)) : this.#blob(blob))),
    ]);
  }

  /** The first error stops the run; all that has begun is waited for, so that nothing moves after it was handed up. */
  async all(work: (() => Promise<void>)[]): Promise<void> {
    const outcomes = await Promise.allSettled(
      work.map((start) =>
        start().catch((error: unknown) => {
          this.#failed ??= { error };
          this.#stop.abort();
          throw error;
        }),
      ),
    );
    if (this.#failed && outcomes.some(({ status }) => status === 'rejected')) throw this.#failed.error;
  }

  /** What several parents force is pushed once. */
  #force(descriptor: Descriptor, work: () => Promise<void>): Promise<void> {
    return once(this.#forced, descriptor, work);
  }

  async #forceNode(node: GraphNode): Promise<void> {
    await this.#force(node.descriptor, async () => {
      await this.#children(node, true);
      await this.#push(node);
    });
  }

  async #pushManifest(node: GraphNode): Promise<void> {
    await healing(
      () => this.#children(node, true),
      () => this.#push(node),
    );
    this.#options.report({ type: 'bytes', bytes: node.descriptor.size });
    this.#count([node.descriptor], 'copied');
  }

  async attach(subject: Descriptor, referrers: readonly GraphNode[]): Promise<void> {
    const descriptors = referrers.map(({ descriptor }) => descriptor);
    const force = (): Promise<void> => this.all(referrers.map((node) => () => this.#forceNode(node)));
    await healing(force, () => at('target', subject.digest, () => this.#target.attach(subject, descriptors)));
  }

  async #exists(descriptor: Descriptor): Promise<boolean> {
    return at('target', descriptor.digest, () => this.#requests(() => this.#target.exists(descriptor)));
  }

  async #push({ descriptor, bytes }: GraphNode): Promise<void> {
    await this.#requests(() => this.#send(descriptor, contentOf(bytes)));
  }

  /** The target checks what it gets; what is not as it was announced is the source's fault. */
  async #send(descriptor: Descriptor, content: Content): Promise<void> {
    try {
      await this.#target.push(descriptor, content, this.#signal);
    } catch (error) {
      const known = toMirrorError(error);
      const wrongBytes = known.code === 'E_DIGEST_MISMATCH' || known.code === 'E_SIZE_MISMATCH';
      throw placeError(known, { side: wrongBytes ? 'source' : 'target', item: descriptor.digest });
    }
  }

  async #blob(blob: Descriptor): Promise<void> {
    await once(this.#done, blob, async () => {
      if (await this.#exists(blob)) this.#count([blob], 'present');
      else await this.#pushBlob(blob);
    });
  }

  async #pushBlob(blob: Descriptor): Promise<void> {
    const lane = blob.size <= smallBody ? this.#requests : this.#bodies;
    await lane(async () => {
      this.#signal.throwIfAborted();
      const content = counted(await at('source', blob.digest, () => this.#source.fetch(blob)), (bytes) =>
        this.#options.report({ type: 'bytes', bytes }),
      );
      await this.#send(blob, fromSource(content, blob.digest));
    });
    this.#count([blob], 'copied');
  }

  #count(descriptors: Descriptor[], what: 'copied' | 'present'): void {
    const unique = new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor.size]));
    this.tally[what] += unique.size;
    for (const size of unique.values()) {
      this.tally[`${what}Bytes`] += size;
      if (what === 'present') this.#options.report({ type: 'bytes', bytes: size });
    }
  }
}

function once(done: Map<Digest, Promise<void>>, { digest }: Descriptor, work: () => Promise<void>): Promise<void> {
  const begun = done.get(digest) ?? work();
  done.set(digest, begun);
  return begun;
}

/** Does what makes the target look at children of a manifest; when it misses some, they are pushed whatever it said before. */
async function healing(force: () => Promise<void>, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof MirrorError && error.code === 'E_BLOB_UNKNOWN')) throw error;
    // An earlier copy was interrupted, something was deleted, or the target's cache lied.
    await force();
    await work();
  }
}

/** Work at one side: its errors say so, unless they know better. */
async function at<T>(side: 'source' | 'target', item: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw placeError(error, { side, item });
  }
}

/** The same content, whose errors say that it was the source that broke. */
function fromSource(content: Content, item: string): Content {
  return {
    size: content.size,
    async *open(offset, signal) {
      try {
        yield* content.open(offset, signal);
      } catch (error) {
        throw placeError(error, { side: 'source', item });
      }
    },
  };
}
