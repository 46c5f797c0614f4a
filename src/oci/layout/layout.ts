import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Descriptor } from '../../core/descriptor.ts';
import { type Digest, digestHex, digestLike, isDigest } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { KeyedQueue } from '../../core/limit.ts';
import type { Content, ContentSource, ContentTarget, FileTree } from '../../core/ports.ts';
import { expectationOf, metadataLimit, readAll, readVerified } from '../../core/stream.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { ensureWritable, partialSuffix, writeFileAtomic } from '../../fs/atomic.ts';
import { anyOwner, type LockOwner, lockPlace } from '../../fs/lock.ts';
import { hasFile } from '../../fs/receive.ts';
import { SharedFiles } from '../../fs/shared-files.ts';
import { directoryTree } from '../../fs/tree.ts';
import { syncBlobs } from './blob-folders.ts';
import {
  bare,
  findNamed,
  type LayoutIndex,
  namesOf,
  type NewEntry,
  parseLayoutIndex,
  splitName,
  withEntries,
} from './index-file.ts';
import { type ReferrersBySubject, referrersBySubject } from './referrers.ts';
import { digestTag } from '../reference.ts';
import { checkManifestSize, type ManifestDocument, parseManifest } from '../types.ts';

/** https://github.com/opencontainers/image-spec/blob/main/image-layout.md */
export const layoutFile = 'oci-layout';
export const layoutIndexFile = 'index.json';

const layoutVersion = '1.0.0';
const layoutSchema = z.looseObject({ imageLayoutVersion: z.string() });
/** Layouts of many thousand images have long indexes. */
const indexLimit = 64 * 1024 * 1024;

/** An image layout that many repositories may share: reads files out of any tree, a directory, an archive or a bundle. */
export class OciLayout {
  protected readonly tree: FileTree;
  readonly name: string;
  #index: LayoutIndex | undefined;
  #referrers: Promise<ReferrersBySubject> | undefined;
  readonly #documents = new Map<Digest, Promise<ManifestDocument>>();

  constructor(tree: FileTree, name: string) {
    this.tree = tree;
    this.name = name;
  }

  /** The entries of index.json that have a name; one that has two is called by the one that says more. */
  async named(): Promise<{ name: string; descriptor: Descriptor }[]> {
    const { manifests } = await this.index();
    return manifests.flatMap((entry) => {
      const [name] = namesOf(entry);
      return name === undefined ? [] : [{ name, descriptor: bare(entry) }];
    });
  }

  /** @param repository `registry/repository` whose tags are meant; empty when names are bare tags */
  view(repository: string): LayoutView {
    return new LayoutView(this, repository);
  }

  /** @throws E_NOT_FOUND, E_CORRUPT, E_PROTOCOL */
  async index(): Promise<LayoutIndex> {
    if (this.#index) return this.#index;
    const read = await this.readIndex();
    // What somebody else has learnt meanwhile is newer.
    return (this.#index ??= read);
  }

  protected remember(index: LayoutIndex): void {
    this.#index = index;
    this.#referrers = undefined;
  }

  protected async readIndex(): Promise<LayoutIndex> {
    const marker = await this.json(layoutFile);
    const index = await this.json(layoutIndexFile);
    const at = { item: this.name };
    if (marker === undefined && index === undefined)
      throw new MirrorError('E_NOT_FOUND', `\`${this.name}\` is not an OCI image layout`, {
        hint: 'name the directory that holds `oci-layout` and `index.json`',
        at,
      });
    if (marker === undefined || index === undefined) {
      const lacking = marker === undefined ? layoutFile : layoutIndexFile;
      const hint = 'it may not have been copied whole: copy the directory again';
      throw new MirrorError('E_CORRUPT', `the OCI image layout \`${this.name}\` has no \`${lacking}\``, { hint, at });
    }
    const { imageLayoutVersion: version } = validate(layoutSchema, marker, `${this.name}/${layoutFile}`);
    if (version !== layoutVersion)
      throw new MirrorError(
        'E_PROTOCOL',
        `\`${this.name}\` is an OCI image layout of version \`${version}\`, \`${layoutVersion}\` was wanted`,
        { hint: 'have it written as that version; `oci-layout` says which it is', at },
      );
    return parseLayoutIndex(index, `${this.name}/${layoutIndexFile}`);
  }

  protected async json(path: string): Promise<unknown> {
    const content = await this.tree.file(path);
    return content && parseJson(await readAll(content.open(0), indexLimit, path), `${this.name}/${path}`);
  }

  async find(descriptor: Pick<Descriptor, 'digest'>): Promise<Content | undefined> {
    return this.tree.file(blobPath(descriptor.digest));
  }

  async content(descriptor: Descriptor): Promise<Content> {
    const content = await this.find(descriptor);
    if (!content)
      throw new MirrorError('E_NOT_FOUND', `\`${descriptor.digest}\` is not in \`${this.name}\``, {
        at: { item: descriptor.digest },
      });
    return content;
  }

  async document(descriptor: Descriptor): Promise<ManifestDocument> {
    let document = this.#documents.get(descriptor.digest);
    if (!document) {
      checkManifestSize(descriptor, descriptor.digest);
      document = this.content(descriptor).then(async (content) => {
        const bytes = await readVerified(content, expectationOf(descriptor));
        return parseManifest(bytes, descriptor.mediaType, descriptor.digest);
      });
      this.#documents.set(descriptor.digest, document);
    }
    return document;
  }

  /** A manifest that lies among the blobs, whether index.json lists it or not. @throws E_CORRUPT, E_DIGEST_MISMATCH */
  async unlisted(digest: Digest): Promise<Descriptor | undefined> {
    const content = await this.find({ digest });
    if (!content) return undefined;
    checkManifestSize({ mediaType: '', digest, size: content.size }, digest);
    const bytes = await readAll(content.open(0), metadataLimit, digest);
    const found = digestLike(digest, bytes);
    if (found !== digest)
      throw new MirrorError('E_DIGEST_MISMATCH', `\`${digest}\` in \`${this.name}\` has digest \`${found}\``, {
        at: { side: 'source', item: digest },
      });
    return { mediaType: parseManifest(bytes, '', digest).mediaType, digest, size: bytes.length };
  }

  async referrersOf(subject: Digest): Promise<Descriptor[]> {
    const { manifests } = await this.index();
    this.#referrers ??= referrersBySubject(manifests, this);
    const { bySubject, lost } = await this.#referrers;
    return [...(bySubject.get(subject) ?? []), ...lost];
  }
}

/** Writing index.json takes milliseconds, on a busy USB stick seconds. */
const lockWaitMs = 30_000;

/** A layout directory that can be written to, by several processes at the same time. */
export class WritableLayout extends OciLayout {
  readonly #directory: string;
  readonly #owner: LockOwner;
  readonly #blobs: SharedFiles;
  readonly #writing = new KeyedQueue();
  #batch: { entries: NewEntry[]; written: Promise<void> } | undefined;

  private constructor(directory: string, owner: LockOwner) {
    super(directoryTree(directory), directory);
    this.#directory = directory;
    this.#owner = owner;
    this.#blobs = new SharedFiles(owner);
  }

  /**
   * Makes the directory and the two files of an empty layout where they are missing.
   * @throws E_CORRUPT, E_PROTOCOL for a layout that is damaged or of another version, E_REFUSED, E_NO_SPACE
   */
  static async open(directory: string, owner: LockOwner = anyOwner): Promise<WritableLayout> {
    await ensureWritable(directory);
    const layout = new WritableLayout(directory, owner);
    const isThere = (await layout.json(layoutFile)) !== undefined && (await layout.json(layoutIndexFile)) !== undefined;
    const prepare = async (): Promise<void> => {
      if ((await layout.json(layoutFile)) === undefined)
        await writeFileAtomic(join(directory, layoutFile), JSON.stringify({ imageLayoutVersion: layoutVersion }));
      if ((await layout.json(layoutIndexFile)) === undefined)
        await writeFileAtomic(join(directory, layoutIndexFile), '{"schemaVersion":2,"manifests":[]}');
    };
    if (!isThere) await layout.#locked(prepare);
    await layout.index();
    return layout;
  }

  async receive(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    const path = join(this.#directory, blobPath(expected.digest));
    await this.#blobs.receive(path, content, expectationOf(expected), signal);
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    return hasFile(join(this.#directory, blobPath(descriptor.digest)), descriptor.size);
  }

  /** Puts entries into index.json; what is entered while it is being written goes into the next writing together. */
  async enter(entries: readonly NewEntry[]): Promise<void> {
    this.#batch ??= { entries: [], written: this.#writing.run(layoutIndexFile, () => this.#writeBatch()) };
    this.#batch.entries.push(...entries);
    return this.#batch.written;
  }

  async #writeBatch(): Promise<void> {
    const entries = this.#batch?.entries ?? [];
    this.#batch = undefined;
    await this.#locked(async () => {
      if (withEntries((await this.readIndex()).manifests, entries)) await syncBlobs(this.#directory);
      // Other tools know no lock: what one of them wrote while the blobs were waited for stays, too.
      const index = await this.readIndex();
      const manifests = withEntries(index.manifests, entries);
      if (manifests) {
        index.manifests = manifests;
        await writeFileAtomic(join(this.#directory, layoutIndexFile), JSON.stringify(index));
      }
      this.remember(index);
    });
  }

  /** Other processes change index.json too: it is read, changed and written by one at a time. @throws E_REFUSED */
  async #locked(work: () => Promise<void>): Promise<void> {
    const path = join(this.#directory, `${layoutIndexFile}.lock${partialSuffix}`);
    const lock = await lockPlace(path, this.#directory, this.#owner, { waitMs: lockWaitMs });
    try {
      await this.#sweep();
      await work();
    } finally {
      await lock[Symbol.asyncDispose]();
    }
  }

  /** Who died while writing index.json left what it wrote; nobody else writes there now. */
  async #sweep(): Promise<void> {
    const left = (await readdir(this.#directory)).filter((name) => /^index\.json\.[0-9a-f]{8}\.partial$/.test(name));
    for (const name of left) await rm(join(this.#directory, name), { force: true });
  }
}

/** The part of a layout that belongs to one repository, as a source. */
export class LayoutView implements ContentSource {
  protected readonly repository: string;
  readonly #layout: OciLayout;

  constructor(layout: OciLayout, repository: string) {
    this.#layout = layout;
    this.repository = repository;
  }

  /** A digest may be that of any manifest which lies in the layout. */
  async resolve(reference: string): Promise<Descriptor> {
    const { manifests } = await this.#layout.index();
    const entry = isDigest(reference)
      ? manifests.find(({ digest }) => digest === reference)
      : findNamed(manifests, this.nameOf(reference));
    const found = entry ? bare(entry) : isDigest(reference) ? await this.unlisted(reference) : undefined;
    if (found) return found;
    const name = this.nameOf(reference);
    throw new MirrorError('E_NOT_FOUND', `\`${name}\` is not in \`${this.#layout.name}\``, {
      hint: await this.#whatThereIs(),
      at: { item: name },
    });
  }

  async #whatThereIs(): Promise<string> {
    // Signatures come along with the image that they are named after; nobody means them alone.
    const names = (await this.#layout.named())
      .filter(({ name }) => digestTag(splitName(name).reference) === undefined)
      .map(({ name }) => `\`${name}\``);
    if (names.length === 0) return 'it holds no named image';
    return `it holds ${names.slice(0, 8).join(', ')}${names.length > 8 ? ', ...' : ''}`;
  }

  protected async unlisted(digest: Digest): Promise<Descriptor | undefined> {
    return this.#layout.unlisted(digest);
  }

  async fetch(descriptor: Descriptor): Promise<Content> {
    return this.#layout.content(descriptor);
  }

  async exists(descriptor: Descriptor): Promise<boolean> {
    return (await this.#layout.find(descriptor))?.size === descriptor.size;
  }

  async referrers(subject: Descriptor): Promise<Descriptor[]> {
    return this.#layout.referrersOf(subject.digest);
  }

  async tags(): Promise<string[]> {
    const prefix = this.repository === '' ? '' : `${this.repository}:`;
    const names = (await this.#layout.named()).map(({ name }) => name);
    return names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  protected nameOf(reference: string): string {
    if (this.repository === '') return reference;
    return isDigest(reference) ? `${this.repository}@${reference}` : `${this.repository}:${reference}`;
  }
}

/** The same as a target. */
export class WritableView extends LayoutView implements ContentTarget {
  readonly local = true;
  readonly #writable: WritableLayout;

  constructor(layout: WritableLayout, repository: string) {
    super(layout, repository);
    this.#writable = layout;
  }

  override async exists(descriptor: Descriptor): Promise<boolean> {
    return this.#writable.has(descriptor);
  }

  /** What index.json does not list is not yet to be found: its blobs may be those of a copy that goes on. */
  protected override async unlisted(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async push(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    await this.#writable.receive(expected, content, signal);
  }

  async tag(descriptor: Descriptor, reference: string): Promise<void> {
    await this.#writable.enter([{ descriptor, name: this.nameOf(reference) }]);
  }

  async attach(subject: Descriptor, referrers: readonly Descriptor[]): Promise<void> {
    const present = new Set((await this.#writable.index()).manifests.map(({ digest }) => digest));
    const missing = referrers.filter(({ digest }) => !present.has(digest) && digest !== subject.digest);
    if (missing.length > 0) await this.#writable.enter(missing.map((descriptor) => ({ descriptor })));
  }
}

export function blobPath(digest: Digest): string {
  return `blobs/${digest.slice(0, digest.indexOf(':'))}/${digestHex(digest)}`;
}
