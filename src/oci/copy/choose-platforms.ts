import type { Descriptor, Platform } from '../../core/descriptor.ts';
import { sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { parseJson } from '../../core/validate.ts';
import { type GraphNode, type GraphReader, isMissing, type ReadManifest } from '../graph.ts';
import { unlessLost } from '../lost.ts';
import { attestedBy, formatPlatform, isUnknown, samePlatform, subsetIndex } from '../platform.ts';
import { isIndex, isManifest } from '../types.ts';

/** What of an image is wanted. */
export interface Choice {
  /** Empty: all that the source has. */
  platforms: readonly Platform[];
  /** Indexes stay as they are, though not all of their children go over. */
  sparse: boolean;
}

/**
 * The root of an image with only the chosen platforms below it. Without `sparse` an index of which some go gets a
 * smaller index in its place, with another digest; an index of which all stay is left as it is. An image that is no index
 * has to be of the platform.
 * @throws E_NOT_FOUND naming the platforms that there are
 */
export async function chooseRoot(reader: GraphReader, root: Descriptor, choice: Choice): Promise<GraphNode> {
  if (choice.platforms.length === 0 && !choice.sparse) return reader.read(root, 0);
  const chooser = new Chooser(reader, choice);
  const node = await chooser.choose(root, 0);
  chooser.refuseMissing(root);
  if (node) return node;
  throw new MirrorError('E_NOT_FOUND', `nothing of \`${root.digest}\` is there`, {
    at: { side: 'source', item: root.digest },
  });
}

class Chooser {
  readonly #reader: GraphReader;
  readonly #choice: Choice;
  readonly #seen: Platform[] = [];

  constructor(reader: GraphReader, choice: Choice) {
    this.#reader = reader;
    this.#choice = choice;
  }

  async choose(descriptor: Descriptor, depth: number): Promise<GraphNode | undefined> {
    const manifest = await this.#reader.manifest(descriptor, depth);
    if (isIndex(manifest.descriptor)) return this.#chooseChildren(manifest, depth);
    return (await this.#fits(descriptor)) ? this.#reader.read(descriptor, depth) : undefined;
  }

  /** @throws E_NOT_FOUND when a platform that was asked for is not there */
  refuseMissing(root: Descriptor): void {
    const missing = this.#choice.platforms.filter((wanted) => !this.#seen.some((seen) => samePlatform(seen, wanted)));
    if (missing.length === 0) return;
    const there = [...new Set(this.#seen.map(formatPlatform))].sort();
    throw new MirrorError(
      'E_NOT_FOUND',
      `the image has no platform ${missing.map((each) => `\`${formatPlatform(each)}\``).join(', ')}`,
      {
        hint:
          there.length === 0
            ? 'it names no platform at all, as artifacts do: leave out `--platform`'
            : `it has ${there.map((each) => `\`${printable(each)}\``).join(', ')}`,
        at: { side: 'source', item: root.digest },
      },
    );
  }

  async #chooseChildren(index: ReadManifest, depth: number): Promise<GraphNode | undefined> {
    const entries = index.document.manifests;
    const chosen = await Promise.all(entries.map((entry) => this.#child(index, entry, depth + 1)));
    const digests = new Set<string>(entries.filter((_, place) => chosen[place]).map(({ digest }) => digest));
    // Attestations name the image that they speak of; they have no platform of their own.
    for (const [place, entry] of entries.entries())
      if (chosen[place] === undefined && digests.has(attestedBy(entry) ?? ''))
        chosen[place] = await this.#attestation(index, entry, depth + 1);
    const kept = chosen.filter((child) => child !== undefined);
    if (kept.length === 0) return undefined;
    const node = this.#reader.node(index, kept);
    const whole = chosen.every((child, place) => child !== undefined && digestOf(child) === entries[place]?.digest);
    if (whole && !kept.some((child) => 'document' in child && child.sparse)) return node;
    return this.#choice.sparse ? { ...node, sparse: true } : this.#smaller(node, chosen);
  }

  /** An entry of an index; undefined when it is not wanted. */
  async #child(index: ReadManifest, entry: Descriptor, depth: number): Promise<GraphNode | Descriptor | undefined> {
    // An index that is not there may have been left out by an earlier choice: it has nothing to choose from.
    if (isIndex(entry)) return this.choose(entry, depth).catch(unlessMissing(entry));
    if (this.#choice.platforms.length === 0) return this.#whatever(index, entry, depth);
    if (attestedBy(entry) !== undefined || !(await this.#fits(entry))) return undefined;
    return this.#reader.child(index, entry, depth);
  }

  /** A child of any platform; what the source lacks stays a hole where holes are wanted. */
  async #whatever(index: ReadManifest, entry: Descriptor, depth: number): Promise<GraphNode | Descriptor | undefined> {
    const child = this.#reader.child(index, entry, depth);
    return this.#choice.sparse ? child.catch(unlessMissing(entry)) : child;
  }

  /** One that its source has lost is left out of the smaller index: nobody has a use for the hole. */
  async #attestation(
    index: ReadManifest,
    entry: Descriptor,
    depth: number,
  ): Promise<GraphNode | Descriptor | undefined> {
    if (this.#choice.sparse) return this.#whatever(index, entry, depth);
    return unlessLost(entry.digest, this.#reader.lacking.lost, async () => this.#reader.child(index, entry, depth));
  }

  async #fits(entry: Descriptor): Promise<boolean> {
    if (this.#choice.platforms.length === 0) return true;
    const platform = entry.platform ?? (await this.#platformOfConfig(entry));
    if (!platform || isUnknown(platform)) return false;
    this.#seen.push(platform);
    return this.#choice.platforms.some((wanted) => samePlatform(wanted, platform));
  }

  /** https://github.com/opencontainers/image-spec/blob/main/config.md; artifacts have none that names a platform. */
  async #platformOfConfig(entry: Descriptor): Promise<Platform | undefined> {
    if (!isManifest(entry)) return undefined;
    const { document } = await this.#reader.manifest(entry, 0);
    const [config] = document.blobs;
    if (!config || !imageConfigs.includes(config.mediaType)) return undefined;
    const { os, architecture, variant } = parseJson(
      await this.#reader.blob(config),
      config.digest,
    ) as Partial<Platform>;
    if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
    return { os, architecture, ...(typeof variant === 'string' ? { variant } : {}) };
  }

  #smaller(node: GraphNode, chosen: readonly (GraphNode | Descriptor | undefined)[]): GraphNode {
    const kept = chosen.map((child) => child && ('document' in child ? child.descriptor : child));
    const bytes = subsetIndex(node.bytes, kept, node.descriptor.digest);
    const { data: _, ...descriptor } = node.descriptor;
    return {
      ...node,
      bytes,
      document: { ...node.document, manifests: kept.filter((child) => child !== undefined) },
      descriptor: { ...descriptor, digest: sha256(bytes), size: bytes.length },
      madeFrom: node.descriptor,
    };
  }
}

const imageConfigs = ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];

function digestOf(child: GraphNode | Descriptor): string {
  return 'document' in child ? child.descriptor.digest : child.digest;
}

function unlessMissing(entry: Descriptor): (error: unknown) => undefined {
  return (error) => {
    if (!isMissing(error, entry)) throw error;
    return undefined;
  };
}
