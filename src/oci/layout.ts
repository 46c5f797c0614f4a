import { join } from 'node:path';
import type { Descriptor } from '../core/descriptor.ts';
import { checksumOf, type Digest, digestHex, isDigest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { KeyedQueue } from '../core/limit.ts';
import type { Content, ContentSource, ContentTarget, FileTree } from '../core/ports.ts';
import { readAll, readVerified } from '../core/stream.ts';
import { digestSchema, parseJson, validate, z } from '../core/validate.ts';
import { ensureWritable, writeFileAtomic } from '../fs/atomic.ts';
import { hasFile, receiveFile } from '../fs/receive.ts';
import { directoryTree } from '../fs/tree.ts';
import { checkManifestSize, isManifest, type ManifestDocument, parseManifest, refNameAnnotation } from './types.ts';

/** https://github.com/opencontainers/image-spec/blob/main/image-layout.md */
export const layoutFile = 'oci-layout';
export const layoutIndexFile = 'index.json';

const layoutSchema = z.object({ imageLayoutVersion: z.literal('1.0.0') });
/** Loose: what others wrote into index.json has to survive our writing it. */
const indexSchema = z.looseObject({
  schemaVersion: z.literal(2),
  manifests: z.array(
    z.looseObject({
      mediaType: z.string(),
      digest: digestSchema,
      size: z.number().int().nonnegative(),
      artifactType: z.string().optional(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
  ),
});

type LayoutIndex = z.infer<typeof indexSchema>;
type Entry = LayoutIndex['manifests'][number];

/** An image layout that many repositories may share: reads files out of any tree, a directory or a bundle. */
export class OciLayout {
  protected readonly tree: FileTree;
  readonly name: string;
  #index: LayoutIndex | undefined;
  readonly #documents = new Map<Digest, Promise<ManifestDocument>>();

  constructor(tree: FileTree, name: string) {
    this.tree = tree;
    this.name = name;
  }

  /** The entries of index.json that have a name. */
  async named(): Promise<{ name: string; descriptor: Descriptor }[]> {
    const { manifests } = await this.index();
    return manifests.flatMap((entry) => {
      const name = entry.annotations?.[refNameAnnotation];
      return name === undefined ? [] : [{ name, descriptor: bare(entry) }];
    });
  }

  /** @param repository `registry/repository` whose tags are meant; empty when names are bare tags */
  view(repository: string): LayoutView {
    return new LayoutView(this, repository);
  }

  /** @throws E_NOT_FOUND, E_CORRUPT */
  async index(): Promise<LayoutIndex> {
    this.#index ??= await this.readIndex();
    return this.#index;
  }

  protected remember(index: LayoutIndex): void {
    this.#index = index;
  }

  protected async readIndex(): Promise<LayoutIndex> {
    const marker = await this.json(layoutFile);
    const index = await this.json(layoutIndexFile);
    if (marker === undefined || index === undefined) {
      const hint = 'name the directory that holds `oci-layout` and `index.json`';
      throw new MirrorError('E_NOT_FOUND', `\`${this.name}\` is not an OCI image layout`, {
        hint,
        at: { item: this.name },
      });
    }
    validate(layoutSchema, marker, `${this.name}/${layoutFile}`);
    return validate(indexSchema, index, `${this.name}/${layoutIndexFile}`);
  }

  protected async json(path: string): Promise<unknown> {
    const content = await this.tree.file(path);
    return content && parseJson(await readAll(content.open(0), 64 * 1024 * 1024, path), `${this.name}/${path}`);
  }

  async find(descriptor: Descriptor): Promise<Content | undefined> {
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
        const bytes = await readVerified(content, {
          size: descriptor.size,
          checksum: checksumOf(descriptor.digest),
          item: descriptor.digest,
        });
        return parseManifest(bytes, descriptor.mediaType, descriptor.digest);
      });
      this.#documents.set(descriptor.digest, document);
    }
    return document;
  }

  /** Unnamed entries of index.json are how a layout holds what nothing but its subject leads to. */
  async referrersOf(subject: Digest): Promise<Descriptor[]> {
    const { manifests } = await this.index();
    const found: Descriptor[] = [];
    for (const entry of manifests.filter((candidate) => isManifest(candidate))) {
      const document = await this.document(bare(entry));
      if (document.subject?.digest === subject && !found.some(({ digest }) => digest === entry.digest))
        found.push(referrerDescriptor(bare(entry), document));
    }
    return found;
  }
}

/** A layout directory that can be written to. */
export class WritableLayout extends OciLayout {
  readonly #directory: string;
  readonly #writing = new KeyedQueue();

  private constructor(directory: string) {
    super(directoryTree(directory), directory);
    this.#directory = directory;
  }

  /** Makes the directory and the two files of an empty layout where they are missing. */
  static async open(directory: string): Promise<WritableLayout> {
    await ensureWritable(directory);
    const layout = new WritableLayout(directory);
    if ((await layout.json(layoutFile)) === undefined)
      await writeFileAtomic(join(directory, layoutFile), '{"imageLayoutVersion":"1.0.0"}');
    if ((await layout.json(layoutIndexFile)) === undefined)
      await writeFileAtomic(join(directory, layoutIndexFile), '{"schemaVersion":2,"manifests":[]}');
    return layout;
  }

  async receive(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void> {
    const expectation = { size: expected.size, checksum: checksumOf(expected.digest), item: expected.digest };
    await receiveFile(join(this.#directory, blobPath(expected.digest)), content, expectation, { signal });
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    return hasFile(join(this.#directory, blobPath(descriptor.digest)), descriptor.size);
  }

  /** Puts entries into index.json; a name that something else had moves over. */
  async enter(entries: readonly { descriptor: Descriptor; name?: string }[]): Promise<void> {
    await this.#writing.run(layoutIndexFile, async () => {
      const index = await this.readIndex();
      for (const { descriptor, name } of entries) index.manifests = withEntry(index.manifests, descriptor, name);
      await writeFileAtomic(join(this.#directory, layoutIndexFile), JSON.stringify(index));
      this.remember(index);
    });
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

  async resolve(reference: string): Promise<Descriptor> {
    const { manifests } = await this.#layout.index();
    const entry = isDigest(reference)
      ? manifests.find(({ digest }) => digest === reference)
      : manifests.find(({ annotations }) => annotations?.[refNameAnnotation] === this.nameOf(reference));
    if (entry) return bare(entry);
    const names = (await this.#layout.named())
      .filter(({ name }) => !/:sha256-[0-9a-f]{64}\.\w+$/.test(name))
      .map(({ name }) => `\`${name}\``);
    const hint =
      names.length === 0
        ? 'it holds no named image'
        : `it holds ${names.slice(0, 8).join(', ')}${names.length > 8 ? ', ...' : ''}`;
    throw new MirrorError('E_NOT_FOUND', `\`${this.nameOf(reference)}\` is not in \`${this.#layout.name}\``, {
      hint,
      at: { item: this.nameOf(reference) },
    });
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

function blobPath(digest: Digest): string {
  return `blobs/${digest.slice(0, digest.indexOf(':'))}/${digestHex(digest)}`;
}

function withEntry(entries: Entry[], descriptor: Descriptor, name: string | undefined): Entry[] {
  const { mediaType, digest, size, artifactType } = descriptor;
  const entry: Entry = { mediaType, digest, size, ...(artifactType === undefined ? {} : { artifactType }) };
  if (name === undefined) return entries.some((other) => other.digest === digest) ? entries : [...entries, entry];
  entry.annotations = { [refNameAnnotation]: name };
  return [...entries.filter((other) => other.annotations?.[refNameAnnotation] !== name), entry];
}

/** An entry without what belongs to its place in index.json. */
function bare({ mediaType, digest, size, artifactType }: Entry): Descriptor {
  return artifactType === undefined ? { mediaType, digest, size } : { mediaType, digest, size, artifactType };
}

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers wants these two in the list. */
function referrerDescriptor(descriptor: Descriptor, document: ManifestDocument): Descriptor {
  const annotations = Object.keys(document.annotations).length > 0 ? { annotations: document.annotations } : {};
  return {
    ...descriptor,
    ...(document.artifactType === undefined ? {} : { artifactType: document.artifactType }),
    ...annotations,
  };
}
