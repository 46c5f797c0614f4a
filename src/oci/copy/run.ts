import { setMaxListeners } from 'node:events';
import type { Descriptor } from '../../core/descriptor.ts';
import { type Digest, digestLike } from '../../core/digest.ts';
import { isWrongBytes, placeError, toMirrorError } from '../../core/errors.ts';
import type { Reporter } from '../../core/events.ts';
import { smallBody } from '../../core/limit.ts';
import type { Content, ContentSource, ContentTarget } from '../../core/ports.ts';
import { contentOf, counted } from '../../core/stream.ts';
import { Belongings, bySubject, isSpared } from './belongings.ts';
import { refusedForAddresses } from './foreign.ts';
import { healing, refusedForHoles } from './missing-children.ts';
import { CopyPool, Destination } from './pool.ts';
import { type GraphNode, type ImageGraph, manifestsOf } from '../graph.ts';
import { type LeftOut, lostPart } from '../lost.ts';
import { at, fromSource, resolved } from '../side.ts';
import { embeddedBytes, isForeign } from '../types.ts';

export interface CopyOptions {
  slots: number;
  report: Reporter;
  signal?: AbortSignal | undefined;
  /** Shared by the images of one command. */
  pool?: CopyPool | undefined;
  /** Shared by the images that go to one repository. */
  destination?: Destination | undefined;
  /** What the reference names at the target now, when that has been asked. */
  named?: Promise<Descriptor | undefined> | undefined;
}

export interface CopyTally {
  copied: number;
  copiedBytes: number;
  present: number;
  presentBytes: number;
}

/** One image on its way: skips what the target has, pushes children before parents, then referrers, and tags last. */
export class CopyRun {
  readonly tally: CopyTally = { copied: 0, copiedBytes: 0, present: 0, presentBytes: 0 };
  readonly signal: AbortSignal;
  readonly #source: ContentSource;
  readonly #target: ContentTarget;
  readonly #options: CopyOptions;
  readonly #pool: CopyPool;
  readonly #destination: Destination;
  readonly #reference: string;
  readonly #named: Promise<Descriptor | undefined>;
  #root: Descriptor | undefined;
  readonly #there = new Map<Digest, Promise<boolean>>();
  readonly #forced = new Map<Digest, Promise<void>>();
  readonly #announced = new Set<Digest>();
  readonly #counted = new Set<Digest>();
  readonly #begun = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();
  #failed: { error: unknown } | undefined;
  /** All of the image itself has been read, or moved: what is begun then belongs to it, and can be done without. */
  readonly #image = { isRead: false, isThere: false };

  constructor(source: ContentSource, target: ContentTarget, reference: string, options: CopyOptions) {
    this.#source = source;
    this.#target = target;
    this.#reference = reference;
    this.#options = options;
    this.#pool = options.pool ?? new CopyPool(options.slots);
    this.#destination = options.destination ?? new Destination();
    this.#named = at('target', reference, () => options.named ?? resolved(target, reference));
    // It is asked for when the first manifest has been read; until then nobody listens.
    this.#named.catch(() => {});
    this.signal = options.signal ? AbortSignal.any([options.signal, this.#stop.signal]) : this.#stop.signal;
    // Every blob listens.
    setMaxListeners(0, this.signal);
  }

  /** Moves the blobs of a manifest while others are being read. */
  begin(manifest: Pick<GraphNode, 'descriptor' | 'blobs'>): void {
    this.#root ??= manifest.descriptor;
    const root = this.#root;
    const belongs = this.#image.isRead;
    const blobs = async (): Promise<void> => {
      // What a registry has needs none; a directory is looked through.
      const there = (await this.#isThere(root)) || (await this.#isThere(manifest.descriptor));
      if (there && !this.#target.local) return;
      await this.all(
        manifest.blobs.map((blob) => () => this.#blob(blob)),
        belongs,
      );
    };
    // Its failure stops the run, which says so where it waits for the same blobs.
    void this.one(blobs, belongs).catch(() => {});
  }

  /** What is begun from now on is no part of the image itself. */
  isRead(): void {
    this.#image.isRead = true;
  }

  /**
   * What refers to the image, and tags.
   * @returns what cannot be had or is not taken of what belongs to the image, when all else is there
   */
  async finish(image: ImageGraph): Promise<LeftOut[]> {
    this.#image.isThere = true;
    const belongings = new Belongings(image);
    const attached = new Map<Descriptor, readonly GraphNode[]>();
    // Referrers of one subject go one after the other: there are registries that lose some of those put at once.
    const inTurn = async (subject: Descriptor, referrers: readonly GraphNode[]): Promise<void> => {
      const taken: GraphNode[] = [];
      for (const node of referrers)
        if (await belongings.bring([node.descriptor.digest], () => this.node(node))) taken.push(node);
      attached.set(subject, taken);
    };
    const tagged: ImageGraph['tagged'] = [];
    const behindTag = async (each: ImageGraph['tagged'][number]): Promise<void> => {
      if (await belongings.bring([each.tag], () => this.node(each.node))) tagged.push(each);
    };
    await this.all([
      ...[...bySubject(image)].map(
        ([subject, referrers]) =>
          () =>
            inTurn(subject, referrers),
      ),
      ...image.tagged.map((each) => () => behindTag(each)),
    ]);
    for (const [subject, referrers] of attached) {
      const names = referrers.map(({ descriptor }) => descriptor.digest);
      await belongings.bring(names, () => this.#attach(subject, referrers));
    }
    for (const { tag, node } of tagged) await belongings.bring([tag], () => this.#tag(node, tag));
    await this.#tag(image.root, this.#reference);
    return belongings.leftOut();
  }

  /** The first error stops the run; all that has begun is waited for, so that nothing moves after it was handed up. */
  async all(work: (() => Promise<void>)[], belongs = this.#image.isThere): Promise<void> {
    const outcomes = await Promise.allSettled(work.map((start) => this.one(start, belongs)));
    const rejected = outcomes.find((outcome) => outcome.status === 'rejected');
    if (rejected) throw this.#failed ? this.#failed.error : rejected.reason;
  }

  /**
   * Work whose failure stops the run; what is thrown is the error that came first.
   * @param belongs whether it is for what belongs to the image, which stops nothing where it can be done without
   */
  async one<T>(start: () => Promise<T>, belongs = this.#image.isThere): Promise<T> {
    const work = start().catch((error: unknown) => {
      if (belongs && !this.#failed && isSpared(error)) throw error;
      this.#failed ??= { error };
      this.#stop.abort();
      throw this.#failed.error;
    });
    this.#begun.add(work);
    return work.finally(() => this.#begun.delete(work));
  }

  /** When all that has begun has ended. */
  async settled(): Promise<void> {
    while (this.#begun.size > 0) await Promise.allSettled(this.#begun);
  }

  async node(node: GraphNode): Promise<void> {
    await this.#once([node.descriptor, ...manifestsOf(node).flatMap(partsOf)], async () => {
      const there = await this.#isThere(node.descriptor);
      await this.#below(node, there && !this.#target.local);
      if (there) this.#count([node.descriptor], 'present');
      else await this.#pushManifest(node);
    });
  }

  /** @param believed a registry that has a manifest has its blobs, but for foreign ones; of an index some take less than all children */
  async #below(node: GraphNode, believed: boolean): Promise<void> {
    const doubted = believed ? node.blobs.filter(isForeign) : node.blobs;
    this.#count(believed ? node.blobs.filter((blob) => !isForeign(blob)) : [], 'present');
    await this.all([
      ...node.children.map((child) => () => this.node(child)),
      ...doubted.map((blob) => () => this.#blob(blob)),
    ]);
  }

  async #tag(node: GraphNode, reference: string): Promise<void> {
    const now = (await this.#namedNow(reference))?.digest;
    // A registry calls by sha256 what a tag names, though it was pushed by sha512.
    if (now && (now === node.descriptor.digest || now === digestLike(now, node.bytes))) return;
    await this.#put(node, () => at('target', reference, () => this.#target.tag(node.descriptor, reference)));
  }

  async #namedNow(reference: string): Promise<Descriptor | undefined> {
    if (reference === this.#reference) return this.#named;
    if (await this.#wasEmpty()) return undefined;
    return at('target', reference, () => resolved(this.#target, reference));
  }

  async #pushManifest(node: GraphNode): Promise<void> {
    await this.#put(node, () => this.#push(node));
    this.#options.report({ type: 'bytes', bytes: node.descriptor.size });
    this.#count([node.descriptor], 'copied');
  }

  /** Does what makes the target look at what a manifest names. */
  async #put(node: GraphNode, work: () => Promise<void>): Promise<void> {
    if (node.sparse) await refusedForHoles(node, work);
    else await refusedForAddresses(node, () => healing(() => this.#forceBelow(node), work));
  }

  async #forceBelow(node: GraphNode): Promise<void> {
    await this.all([
      ...node.children.map((child) => () => this.#forceNode(child)),
      ...node.blobs.map((blob) => () => this.#force(blob, () => this.#pushBlob(blob))),
    ]);
  }

  async #forceNode(node: GraphNode): Promise<void> {
    await this.#force(node.descriptor, async () => {
      await this.#forceBelow(node);
      await this.#push(node);
    });
  }

  /** What several parents force is pushed once. */
  async #force({ digest }: Descriptor, work: () => Promise<void>): Promise<void> {
    await memo(this.#forced, digest, work);
  }

  async #attach(subject: Descriptor, referrers: readonly GraphNode[]): Promise<void> {
    if (referrers.length === 0) return;
    const descriptors = referrers.map(({ descriptor }) => descriptor);
    const force = (): Promise<void> => this.all(referrers.map((node) => () => this.#forceNode(node)));
    await healing(force, () => at('target', subject.digest, () => this.#target.attach(subject, descriptors)));
  }

  async #isThere(manifest: Descriptor): Promise<boolean> {
    return memo(this.#there, manifest.digest, async () => {
      if (!this.#target.local) {
        if ((await this.#named)?.digest === manifest.digest) return true;
        if (await this.#wasEmpty()) return false;
      }
      return this.#exists(manifest);
    });
  }

  /** Nothing is asked of a repository in which there is nothing; what the name gives is known anyway. */
  async #wasEmpty(): Promise<boolean> {
    return (await this.#named) === undefined && this.#destination.wasEmpty(this.#target);
  }

  async #exists(descriptor: Descriptor): Promise<boolean> {
    return at('target', descriptor.digest, () => this.#pool.requests(() => this.#target.exists(descriptor)));
  }

  async #push({ descriptor, bytes }: GraphNode): Promise<void> {
    await this.#pool.requests(() => this.#send(descriptor, contentOf(bytes)));
  }

  /** The target checks what it gets; what is not as it was announced is the source's fault. */
  async #send(descriptor: Descriptor, content: Content): Promise<void> {
    try {
      await this.#target.push(descriptor, content, this.signal);
    } catch (error) {
      const known = toMirrorError(error);
      throw placeError(known, { side: isWrongBytes(known) ? 'source' : 'target', item: descriptor.digest });
    }
  }

  async #blob(blob: Descriptor): Promise<void> {
    await this.#once([blob], async () => {
      // Large ones are asked for in any case: an upload that was interrupted may have brought them.
      const absent = blob.size <= smallBody && (await this.#wasEmpty());
      if (!absent && (await this.#exists(blob))) this.#count([blob], 'present');
      else await this.#pushBlob(blob);
    });
  }

  async #pushBlob(blob: Descriptor): Promise<void> {
    const lane = blob.size <= smallBody ? this.#pool.requests : this.#pool.bodies;
    let read = blob.size === 0;
    const onBytes = (bytes: number): void => {
      read = true;
      this.#options.report({ type: 'bytes', bytes });
    };
    const move = async (): Promise<void> => {
      await lane(() => this.#move(blob, this.#source.places ?? 1, onBytes));
    };
    await this.#destination.inTurn(blob.digest, move).catch((error: unknown) => {
      throw lostPart(error, blob.digest);
    });
    // What nobody read was mounted, or another process has brought it meanwhile.
    this.#count([blob], read ? 'copied' : 'present');
  }

  /** @param places from which it may come: from each it is taken once at most */
  async #move(blob: Descriptor, places: number, onBytes: (bytes: number) => void): Promise<void> {
    this.signal.throwIfAborted();
    const content = await at('source', blob.digest, () => this.#contentOf(blob));
    const moved = counted(content, onBytes);
    try {
      await this.#send(blob, fromSource(moved, blob.digest));
    } catch (error) {
      if (places <= 1 || !isWrongBytes(error)) throw error;
      await this.#move(blob, places - 1, onBytes);
    }
  }

  async #contentOf(blob: Descriptor): Promise<Content> {
    const embedded = embeddedBytes(blob);
    return embedded ? contentOf(embedded) : this.#source.fetch(blob);
  }

  /** Brings the first of these, which the others come with; what another copy brings to the same place is there then. */
  async #once(parts: readonly Descriptor[], bring: () => Promise<void>): Promise<void> {
    const [{ digest }] = parts as [Descriptor];
    this.#announce(parts);
    await this.#destination.once(digest, async () => {
      this.signal.throwIfAborted();
      await bring();
    });
    this.#count(parts, 'present');
  }

  /** So much more there is to do. */
  #announce(parts: readonly Descriptor[]): void {
    const fresh = parts.filter(({ digest }) => !this.#announced.has(digest));
    for (const { digest } of fresh) this.#announced.add(digest);
    const bytes = [...new Map(fresh.map((part) => [part.digest, part.size])).values()].reduce(
      (sum, size) => sum + size,
      0,
    );
    if (bytes > 0) this.#options.report({ type: 'total', bytes });
  }

  #count(parts: readonly Descriptor[], what: 'copied' | 'present'): void {
    for (const { digest, size } of parts) {
      if (this.#counted.has(digest)) continue;
      this.#counted.add(digest);
      this.tally[what] += 1;
      this.tally[`${what}Bytes`] += size;
      if (what === 'present') this.#options.report({ type: 'bytes', bytes: size });
    }
  }
}

function partsOf({ descriptor, blobs }: GraphNode): Descriptor[] {
  return [descriptor, ...blobs];
}

function memo<T>(known: Map<Digest, Promise<T>>, digest: Digest, work: () => Promise<T>): Promise<T> {
  const begun = known.get(digest) ?? work();
  known.set(digest, begun);
  return begun;
}
