import { createHash } from 'node:crypto';
import { compressionOf } from '../../core/compression.ts';
import type { Descriptor } from '../../core/descriptor.ts';
import { type Digest, isDigest, sha256 } from '../../core/digest.ts';
import { MirrorError, placeError } from '../../core/errors.ts';
import type { Content, FileTree } from '../../core/ports.ts';
import { contentOf, metadataLimit, readAll } from '../../core/stream.ts';
import { printable } from '../../core/text.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { blobPath, layoutFile, layoutIndexFile } from './layout.ts';
import { formatReference, parseReference } from '../reference.ts';
import { mediaTypes, refNameAnnotation } from '../types.ts';

/** https://github.com/moby/docker-image-spec/blob/main/v1.3.md#combined-image-json--filesystem-changeset-format */
const manifestFile = 'manifest.json';

const manifestSchema = z.array(
  z.object({
    Config: z.string(),
    RepoTags: z.array(z.string()).nullish(),
    Layers: z.array(z.string()).max(10_000).nullish(),
  }),
);

type SavedImage = z.infer<typeof manifestSchema>[number];

const configSchema = z.object({
  rootfs: z.object({
    diff_ids: z
      .array(z.custom<Digest>((value) => typeof value === 'string' && isDigest(value), 'is not a digest'))
      .nullish(),
  }),
});

const layerTypes = {
  plain: 'application/vnd.docker.image.rootfs.diff.tar',
  gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
};

/**
 * An archive of images as an OCI image layout, so that it is read as one. What holds a layout (docker from 25 on,
 * `oci-archive:` of skopeo, buildx) is that layout, with the digests of its registry. For what `docker save` made before,
 * and podman, skopeo's `docker-archive:` and crane make, docker schema 2 manifests are made from configs and layers: the
 * same archive always gives the same digests, but the digests of the manifests that the images once had are lost.
 * A layer that is compressed is read once to learn its digest; one that is not has the digest that its config says, which
 * whoever receives the layer checks.
 * @param name of the archive, for messages
 * @throws E_CORRUPT, naming the member; E_DIGEST_MISMATCH for a config that is not what its name says
 */
export async function archiveTree(files: FileTree, name: string, signal?: AbortSignal): Promise<FileTree> {
  if ((await files.file(layoutFile)) && (await files.file(layoutIndexFile))) return files;
  const archive = new DockerArchive(files, name, signal);
  const made = await archive.read();
  return { file: async (path) => Promise.resolve(made.get(path)) };
}

class DockerArchive {
  readonly #files: FileTree;
  readonly #name: string;
  readonly #signal: AbortSignal | undefined;
  readonly #made = new Map<string, Content>();
  readonly #hashed = new Map<string, Digest>();

  constructor(files: FileTree, name: string, signal: AbortSignal | undefined) {
    this.#files = files;
    this.#name = name;
    this.#signal = signal;
  }

  async read(): Promise<ReadonlyMap<string, Content>> {
    const manifests: object[] = [];
    for (const image of await this.#images()) {
      const descriptor = await this.#image(image);
      const names = (image.RepoTags ?? []).map((tag) => ({ annotations: { [refNameAnnotation]: fullName(tag) } }));
      manifests.push(...(names.length === 0 ? [{}] : names).map((named) => ({ ...descriptor, ...named })));
    }
    this.#made.set(layoutFile, contentOf(Buffer.from(JSON.stringify({ imageLayoutVersion: '1.0.0' }))));
    this.#made.set(layoutIndexFile, contentOf(Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }))));
    return this.#made;
  }

  async #images(): Promise<SavedImage[]> {
    if (!(await this.#files.file(manifestFile)))
      throw new MirrorError('E_CORRUPT', `\`${this.#name}\` has neither \`${manifestFile}\` nor \`${layoutFile}\``, {
        hint: 'make it with `docker save` of docker 1.10 or newer, `podman save`, `skopeo copy` or `crane pull`',
        at: { side: 'source', item: manifestFile },
      });
    const images = this.#parse(manifestSchema, await this.#small(manifestFile), manifestFile);
    if (images.length === 0) throw this.#corrupt(manifestFile, 'names no image');
    return images;
  }

  async #image({ Config: configPath, Layers: layers }: SavedImage): Promise<Descriptor> {
    const bytes = await this.#small(configPath);
    const ids = this.#parse(configSchema, bytes, configPath).rootfs.diff_ids ?? [];
    const paths = layers ?? [];
    if (ids.length !== paths.length)
      throw this.#corrupt(configPath, `has ${ids.length} layers, \`${manifestFile}\` names ${paths.length}`);
    const config = this.#keep('application/vnd.docker.container.image.v1+json', sha256(bytes), contentOf(bytes));
    checkConfigName(configPath, config.digest, this.#name);
    const described: Descriptor[] = [];
    for (const [index, path] of paths.entries()) described.push(await this.#layer(path, ids[index]));
    // The order of the keys is part of the digest.
    const manifest = { schemaVersion: 2, mediaType: mediaTypes.dockerManifest, config, layers: described };
    const written = Buffer.from(JSON.stringify(manifest));
    return this.#keep(mediaTypes.dockerManifest, sha256(written), contentOf(written));
  }

  async #layer(path: string, id: Digest | undefined): Promise<Descriptor> {
    const content = await this.#member(path);
    const compression = compressionOf(await startOf(content));
    if (compression === undefined && id !== undefined) return this.#keep(layerTypes.plain, id, content);
    if (compression !== 'gzip' && compression !== 'zstd')
      throw this.#corrupt(path, `is compressed with ${compression ?? 'something unknown'}, which no registry knows`);
    const digest = this.#hashed.get(path) ?? (await this.#hash(content));
    this.#hashed.set(path, digest);
    return this.#keep(layerTypes[compression], digest, content);
  }

  async #hash(content: Content): Promise<Digest> {
    const hash = createHash('sha256');
    for await (const chunk of content.open(0, this.#signal)) hash.update(chunk);
    return `sha256:${hash.digest('hex')}`;
  }

  #keep(mediaType: string, digest: Digest, content: Content): Descriptor {
    this.#made.set(blobPath(digest), content);
    return { mediaType, digest, size: content.size };
  }

  #parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, path: string): T {
    const where = `${this.#name}: ${path}`;
    try {
      return validate(schema, parseJson(bytes, where), where);
    } catch (error) {
      throw placeError(error, { side: 'source', item: printable(path) });
    }
  }

  async #small(path: string): Promise<Buffer> {
    const content = await this.#member(path);
    if (content.size > metadataLimit)
      throw this.#corrupt(path, `has ${content.size} bytes, at most ${metadataLimit} are believed`);
    return readAll(content.open(0, this.#signal));
  }

  async #member(path: string): Promise<Content> {
    const content = await this.#files.file(path);
    if (!content) throw this.#corrupt(path, 'is not in it');
    return content;
  }

  #corrupt(member: string, what: string): MirrorError {
    const item = printable(member);
    return new MirrorError('E_CORRUPT', `\`${this.#name}\`: \`${item}\` ${what}`, {
      hint: 'make or copy the archive again',
      at: { side: 'source', item },
    });
  }
}

/** Nothing else says what the bytes of a config are to be. */
function checkConfigName(path: string, found: Digest, archive: string): void {
  const hex = /^(?:sha256:)?([0-9a-f]{64})(?:\.json)?$/.exec(path)?.[1];
  if (hex === undefined || found === `sha256:${hex}`) return;
  throw new MirrorError(
    'E_DIGEST_MISMATCH',
    `\`${archive}\`: \`${path}\` has digest \`${found}\`, its name says another`,
    {
      hint: 'make or copy the archive again',
      at: { side: 'source', item: path },
    },
  );
}

async function startOf(content: Content): Promise<Uint8Array> {
  for await (const chunk of content.open(0)) return chunk;
  return Buffer.alloc(0);
}

/** `nginx:1.25` is `docker.io/library/nginx:1.25` everywhere else; what is no reference keeps its name. */
function fullName(tag: string): string {
  try {
    return formatReference(parseReference(tag));
  } catch {
    return tag;
  }
}
