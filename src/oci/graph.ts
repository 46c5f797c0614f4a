import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { type Limit, limitTo, requestsAtOnce } from '../core/limit.ts';
import type { ContentSource } from '../core/ports.ts';
import { contentOf, expectationOf, metadataLimit, readVerified } from '../core/stream.ts';
import { DigestTags } from './digest-tags.ts';
import { isFailing, type Lacking, unlessUnread } from './lost.ts';
import { at } from './side.ts';
import { formatPlatform } from './platform.ts';
import { printable } from '../core/text.ts';
import {
  checkManifestSize,
  embeddedBytes,
  isForeign,
  isManifest,
  type ManifestDocument,
  parseManifest,
  parseUnknownManifest,
} from './types.ts';

/** A manifest with everything that is reached from it; indexes may nest. */
export interface GraphNode {
  descriptor: Descriptor;
  bytes: Buffer;
  document: ManifestDocument;
  children: GraphNode[];
  /** What the manifest names beside its children: config, layers, and what of an index is no manifest. */
  blobs: Descriptor[];
  /** Layers that stay where their owner has them. */
  foreign: Descriptor[];
  /** An index that goes over as it is with only some of its children. */
  sparse?: true;
  /** The source's index that this smaller one was made of. */
  madeFrom?: Descriptor;
}

/** All that one image is: its graph, what refers to any part of it, and the tags that cosign names after a digest. */
export interface ImageGraph extends Lacking {
  root: GraphNode;
  attached: { subject: Descriptor; referrer: GraphNode }[];
  tagged: { tag: string; node: GraphNode }[];
  /** Referrers and cosign's tags of indexes that were made smaller: they speak of another digest, and stay behind. */
  leftBehind: number;
  /** How many the source lists as referrers that do not refer to what they are listed for: no part of the image. */
  strays: number;
}

/** A manifest and what it says, before anything below it is read. */
export interface ReadManifest {
  descriptor: Descriptor;
  bytes: Buffer;
  document: ManifestDocument;
}

export interface GraphOptions {
  /** Large bodies that move at once. */
  slots: number;
  referrers: boolean;
  signal?: AbortSignal | undefined;
  /** Requests at once, where several images share them. */
  requests?: Limit | undefined;
  /** Foreign layers are part of the image. */
  includeForeign?: boolean | undefined;
  /** Told of every manifest of the image as soon as it has been read, the root first. */
  onManifest?: ((manifest: Pick<GraphNode, 'descriptor' | 'blobs'>) => void) | undefined;
}

const maxDepth = 16;
const maxManifests = 20_000;
/** A signature of an SBOM of an image is at 2; what goes on and on is made up while it is asked for. */
const maxReferrerDepth = 16;

/**
 * Reads every manifest of an image from its source, children and referrers included, and verifies each. Referrers that are
 * listed and not there, or not whole, are `lost`.
 * @throws E_NOT_FOUND, E_DIGEST_MISMATCH, E_CORRUPT
 */
export async function readImage(source: ContentSource, root: Descriptor, options: GraphOptions): Promise<ImageGraph> {
  const reader = new GraphReader(source, options);
  return reader.image(await reader.read(root, 0));
}

/** Reads manifests of one source, each once. */
export class GraphReader {
  readonly #source: ContentSource;
  readonly #options: GraphOptions;
  readonly #limit: Limit;
  readonly #manifests = new Map<Digest, Promise<ReadManifest | undefined>>();
  readonly #nodes = new Map<Digest, Promise<GraphNode>>();
  readonly #tags: DigestTags;
  /** What belongs to the image, and cannot be had of its source. */
  readonly lacking: Lacking = { lost: [], unread: [], unlisted: [] };

  constructor(source: ContentSource, options: GraphOptions) {
    this.#source = source;
    this.#options = options;
    this.#limit = options.requests ?? limitTo(requestsAtOnce(options.slots));
    this.#tags = new DigestTags(source, this.#limit);
  }

  /** The image that begins at a root that has been read. */
  async image(root: GraphNode): Promise<ImageGraph> {
    const image: ImageGraph = { root, attached: [], tagged: [], leftBehind: 0, strays: 0, ...this.lacking };
    if (this.#options.referrers) await this.#readReferrers(image);
    return image;
  }

  /** A manifest with all below it. */
  async read(descriptor: Descriptor, depth: number): Promise<GraphNode> {
    let node = this.#nodes.get(descriptor.digest);
    if (!node) {
      node = this.manifest(descriptor, depth).then((manifest) => this.#whole(manifest, depth));
      this.#nodes.set(descriptor.digest, node);
    }
    return node;
  }

  /** A manifest alone. @throws E_CORRUPT for what is none */
  async manifest(descriptor: Descriptor, depth: number): Promise<ReadManifest> {
    const manifest = await this.#known(descriptor, depth);
    if (manifest) return manifest;
    throw new MirrorError('E_CORRUPT', `\`${descriptor.digest}\` is no manifest, though it refers to one`, {
      at: { side: 'source', item: descriptor.digest },
    });
  }

  /** The node of a manifest with these children. */
  node(manifest: ReadManifest, children: readonly (GraphNode | Descriptor)[]): GraphNode {
    const others = children.filter((child): child is Descriptor => !('document' in child));
    const all = [...manifest.document.blobs, ...others];
    const stays = (blob: Descriptor): boolean => isForeign(blob) && this.#options.includeForeign !== true;
    return {
      ...manifest,
      // An index may name one child a thousand times.
      children: [...new Set(children.filter((child): child is GraphNode => 'document' in child))],
      blobs: all.filter((blob) => !stays(blob)),
      foreign: all.filter(stays),
    };
  }

  /** The bytes of a small blob. */
  async blob(descriptor: Descriptor): Promise<Buffer> {
    return at('source', descriptor.digest, async () => {
      checkManifestSize(descriptor, descriptor.digest);
      return this.#bytes(descriptor);
    });
  }

  /**
   * What an index names: its manifest, or its descriptor when it is none.
   * @throws E_NOT_FOUND, saying that the index has a hole
   */
  async child(index: ReadManifest, entry: Descriptor, depth: number): Promise<GraphNode | Descriptor> {
    try {
      if (isManifest(entry)) return await this.read(entry, depth);
      const manifest = { ...entry, isManifest: true } as const;
      return (await this.#known(manifest, depth)) ? await this.read(manifest, depth) : entry;
    } catch (error) {
      throw isMissing(error, entry) ? hole(index, entry, error) : error;
    }
  }

  async #whole(manifest: ReadManifest, depth: number): Promise<GraphNode> {
    this.#options.onManifest?.(this.node(manifest, []));
    const children = await Promise.all(
      manifest.document.manifests.map((entry) => this.child(manifest, entry, depth + 1)),
    );
    return this.node(manifest, children);
  }

  async #known(descriptor: Descriptor, depth: number): Promise<ReadManifest | undefined> {
    if (depth > maxDepth)
      throw new MirrorError('E_CORRUPT', `\`${descriptor.digest}\` nests indexes more than ${maxDepth} deep`, {
        at: { side: 'source', item: descriptor.digest },
      });
    if (this.#manifests.size > maxManifests)
      throw new MirrorError('E_CORRUPT', `the image has more than ${maxManifests} manifests`, {
        at: { side: 'source' },
      });
    let manifest = this.#manifests.get(descriptor.digest);
    if (!manifest) {
      manifest = at('source', descriptor.digest, () => this.#fetch(descriptor));
      this.#manifests.set(descriptor.digest, manifest);
    }
    return manifest;
  }

  async #fetch(descriptor: Descriptor): Promise<ReadManifest | undefined> {
    const { digest, mediaType } = descriptor;
    if (!descriptor.isManifest) {
      checkManifestSize(descriptor, digest);
      const bytes = await this.#bytes(descriptor);
      const document = parseManifest(bytes, mediaType, digest);
      return { descriptor: { ...descriptor, mediaType: document.mediaType }, bytes, document };
    }
    const bytes = await this.#bytesOfUnknown(descriptor);
    const document = bytes && parseUnknownManifest(bytes, mediaType, digest);
    return bytes && document && { descriptor, bytes, document };
  }

  /** Of something that may be a manifest or a blob: only the source can tell, and not every source does. */
  async #bytesOfUnknown(descriptor: Descriptor): Promise<Buffer | undefined> {
    if (descriptor.size > metadataLimit) return undefined;
    try {
      return await this.#bytes(descriptor);
    } catch (error) {
      if (error instanceof MirrorError && error.code === 'E_NOT_FOUND') return undefined;
      throw error;
    }
  }

  async #bytes(descriptor: Descriptor): Promise<Buffer> {
    return this.#limit(async () => {
      const embedded = embeddedBytes(descriptor);
      const content = embedded ? contentOf(embedded) : await this.#source.fetch(descriptor);
      return readVerified(content, expectationOf(descriptor), this.#options.signal);
    });
  }

  /** Looks from every manifest that has been found, so that signatures of SBOMs and the like come too. */
  async #readReferrers(image: ImageGraph): Promise<void> {
    const asked = new Set<Digest>();
    let fresh = manifestsOf(image.root);
    for (let depth = 0; fresh.length > 0; depth += 1) {
      if (depth > maxReferrerDepth)
        throw new MirrorError(
          'E_CORRUPT',
          `\`${image.root.descriptor.digest}\` has referrers of referrers more than ${maxReferrerDepth} deep`,
          { hint: '`--no-referrers` leaves them out', at: { side: 'source', item: image.root.descriptor.digest } },
        );
      const found = await Promise.all(fresh.map((node) => this.#attach(node, image)));
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

  async #attach({ descriptor: subject, madeFrom }: GraphNode, image: ImageGraph): Promise<GraphNode[]> {
    const { referrers, tags } = await this.#around(madeFrom ?? subject);
    if (madeFrom) {
      image.leftBehind += referrers.length + tags.length;
      return [];
    }
    const nodes = await Promise.all(
      referrers.map(async (listed) =>
        unlessUnread(listed.digest, image, async () => describe(await this.read(asManifest(listed), 0), listed)),
      ),
    );
    const attached = nodes
      // oras, for one, lists the children of a subject under its tag where a registry resolves that to the subject.
      .filter((referrer) => referrer?.document.subject?.digest === subject.digest)
      .map((referrer) => ({ subject, referrer: referrer as GraphNode }));
    image.strays += nodes.filter((node) => node !== undefined).length - attached.length;
    const tagged = await Promise.all(
      tags.map(async (tag) => {
        const behind = async (): Promise<Descriptor> => this.#limit(() => this.#source.resolve(tag));
        const node = await unlessUnread(tag, image, async () => this.read(await at('source', tag, behind), 0));
        return node ? [{ tag, node }] : [];
      }),
    );
    image.attached.push(...attached);
    image.tagged.push(...tagged.flat());
    return [...attached.map(({ referrer }) => referrer), ...tagged.flat().map(({ node }) => node)];
  }

  /** What says of itself that it refers to `subject`: referrers, and tags that cosign named after it. */
  async #around(subject: Descriptor): Promise<{ referrers: Descriptor[]; tags: string[] }> {
    const { digest } = subject;
    const unlessUnlisted = (error: unknown): [] => {
      if (!isFailing(error)) throw error;
      if (!this.lacking.unlisted.some((known) => known.subject === digest))
        this.lacking.unlisted.push({ subject: digest, error });
      return [];
    };
    const [referrers, tags] = await Promise.all([
      at('source', digest, () => this.#limit(() => this.#source.referrers(subject))).catch(unlessUnlisted),
      at('source', digest, () => this.#tags.of(digest)).catch(unlessUnlisted),
    ]);
    return { referrers, tags };
  }
}

/** What a list of referrers names is a manifest, of whatever type. */
function asManifest(listed: Descriptor): Descriptor {
  return isManifest(listed) ? listed : { ...listed, isManifest: true };
}

/** The list of referrers carries artifactType and annotations that the manifest's own descriptor may lack. */
function describe(node: GraphNode, listed: Descriptor): GraphNode {
  return { ...node, descriptor: { ...listed, ...node.descriptor } };
}

/** Whether it is this very thing that is not there, and not something below it. */
export function isMissing(error: unknown, { digest }: Descriptor): error is MirrorError {
  return error instanceof MirrorError && error.code === 'E_NOT_FOUND' && error.at.item?.endsWith(digest) === true;
}

function hole(index: ReadManifest, child: Descriptor, cause: MirrorError): MirrorError {
  const platform = child.platform ? ` (${printable(formatPlatform(child.platform))})` : '';
  return new MirrorError(
    'E_NOT_FOUND',
    `the index \`${index.descriptor.digest}\` names \`${child.digest}\`${platform}, which is not there: only some platforms were saved or copied, or something was deleted`,
    {
      hint: 'choose among what is there with `--platform` (one of them alone: its digest, `@sha256:...`), or keep the hole with `--sparse`',
      at: { ...cause.at, side: 'source' },
      cause,
    },
  );
}

/** A manifest and all below it, each once, however often indexes name it. */
export function manifestsOf(node: GraphNode): GraphNode[] {
  const found = new Map<Digest, GraphNode>();
  const visit = (each: GraphNode): void => {
    if (found.has(each.descriptor.digest)) return;
    found.set(each.descriptor.digest, each);
    each.children.forEach(visit);
  };
  visit(node);
  return [...found.values()];
}

/** Every manifest of an image, its referrers and their parts included, each once. */
export function nodesOf(image: ImageGraph): GraphNode[] {
  const roots = [
    image.root,
    ...image.attached.map(({ referrer }) => referrer),
    ...image.tagged.map(({ node }) => node),
  ];
  return [...new Map(roots.flatMap(manifestsOf).map((node) => [node.descriptor.digest, node])).values()];
}

/** Every descriptor of an image, each once. */
export function descriptorsOf(image: ImageGraph): Descriptor[] {
  const all = new Map<Digest, Descriptor>();
  for (const { descriptor, blobs } of nodesOf(image))
    for (const each of [descriptor, ...blobs]) all.set(each.digest, each);
  return [...all.values()];
}
