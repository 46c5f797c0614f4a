import type { Descriptor } from '../core/descriptor.ts';
import { digestLike } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { metadataLimit } from '../core/stream.ts';
import { digestSchema, parseJson, validate } from '../core/validate.ts';
import * as z from '../core/zod.ts';

/** https://github.com/opencontainers/image-spec/blob/main/media-types.md */
export const mediaTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/** What we can read as a manifest, best first: the Accept header of every request for one. */
export const manifestMediaTypes: readonly string[] = Object.values(mediaTypes);

export function isManifest(descriptor: { mediaType: string; isManifest?: true | undefined }): boolean {
  return descriptor.isManifest === true || manifestMediaTypes.includes(descriptor.mediaType);
}

export function isIndex({ mediaType }: { mediaType: string }): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerList;
}

/** The Accept header of a request for a manifest: registries give no type that is not named in it. */
export function acceptedTypes({ mediaType }: { mediaType: string }): string {
  return [...new Set([mediaType, ...manifestMediaTypes])].join(', ');
}

export const refNameAnnotation = 'org.opencontainers.image.ref.name';

/** https://github.com/opencontainers/image-spec/blob/main/descriptor.md#properties */
export const descriptorSchema: z.ZodType<Descriptor> = z.object({
  mediaType: z.string().max(255),
  digest: digestSchema,
  size: z.number().int().nonnegative(),
  artifactType: z.string().optional(),
  platform: z.object({ os: z.string(), architecture: z.string(), variant: z.string().optional() }).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  urls: z.array(z.string()).optional(),
  data: z.string().optional(),
});

const descriptors = z.array(descriptorSchema).max(10_000);

const documentSchema = z.object({
  schemaVersion: z.literal(2),
  // A manifest that calls itself something else would be pushed as something else.
  mediaType: z.enum(mediaTypes).optional(),
  artifactType: z.string().optional(),
  config: descriptorSchema.optional(),
  layers: descriptors.optional(),
  manifests: descriptors.nullish(),
  subject: descriptorSchema.nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
});

/** A manifest of a type that we do not know: what it leads to may stand where other manifests have it. */
const unknownSchema = documentSchema.extend({
  schemaVersion: z.unknown().optional(),
  mediaType: z.string().optional(),
  // Of the artifact manifests that an early draft of the specification had.
  blobs: descriptors.optional(),
});

/** An OciManifest or OciIndex (or docker's forms of them), reduced to what a mover has to know. */
export interface ManifestDocument {
  mediaType: string;
  /** Manifests that an index lists. */
  manifests: Descriptor[];
  /** Config and layers of a manifest. */
  blobs: Descriptor[];
  subject?: Descriptor;
  artifactType?: string;
  annotations: Record<string, string>;
}

/**
 * @param mediaType as the descriptor or the server says; the document's own word wins
 * @throws E_CORRUPT, E_PROTOCOL for forms that nobody makes any more
 */
export function parseManifest(bytes: Uint8Array, mediaType: string, item: string): ManifestDocument {
  const json = parseJson(bytes, item);
  if ((json as { schemaVersion?: unknown } | null)?.schemaVersion === 1)
    throw new MirrorError('E_PROTOCOL', `\`${item}\` is a docker schema 1 image, which no registry takes any more`, {
      hint: 'have its owner push it again with a current tool',
    });
  const document = validate(documentSchema, json, item);
  return reduced(document, document.mediaType ?? inferMediaType(document, mediaType));
}

/**
 * Reads a manifest of a media type that is none of ours.
 * @returns undefined for what is no manifest of that type: JSON that states the type or a schema version
 */
export function parseUnknownManifest(bytes: Uint8Array, mediaType: string, item: string): ManifestDocument | undefined {
  try {
    const document = validate(unknownSchema, parseJson(bytes, item), item);
    const states =
      document.mediaType === mediaType || (document.mediaType === undefined && document.schemaVersion === 2);
    return states ? reduced(document, mediaType) : undefined;
  } catch {
    return undefined;
  }
}

function reduced(document: z.infer<typeof unknownSchema>, mediaType: string): ManifestDocument {
  const result: ManifestDocument = {
    mediaType,
    manifests: document.manifests ?? [],
    blobs: [...(document.config ? [document.config] : []), ...(document.layers ?? []), ...(document.blobs ?? [])],
    annotations: document.annotations ?? {},
  };
  if (document.subject) result.subject = document.subject;
  const artifactType = document.artifactType ?? document.config?.mediaType;
  if (artifactType !== undefined) result.artifactType = artifactType;
  return result;
}

/** @throws E_SIZE_MISMATCH for more than a registry takes: it would have to be held in memory */
export function checkManifestSize(descriptor: Descriptor, item: string): void {
  if (descriptor.size > metadataLimit)
    throw new MirrorError(
      'E_SIZE_MISMATCH',
      `the manifest \`${item}\` has ${descriptor.size} bytes, registries take at most ${metadataLimit}`,
      { hint: 'have it made again with less in it: annotations and embedded data are what grows', at: { item } },
    );
}

function inferMediaType(document: { manifests?: unknown; config?: unknown }, declared: string): string {
  if (manifestMediaTypes.includes(declared)) return declared;
  return document.manifests ? mediaTypes.ociIndex : mediaTypes.ociManifest;
}

/** Layers whose owner forbids handing them on; they are fetched from their own urls: never part of a copy. */
export function isForeign(descriptor: Descriptor): boolean {
  return /nondistributable|foreign/.test(descriptor.mediaType) && (descriptor.urls?.length ?? 0) > 0;
}

/**
 * The bytes that a descriptor carries itself; undefined where it carries none, or others than its digest and size say:
 * then the digest is what counts. https://github.com/opencontainers/image-spec/blob/main/descriptor.md#embedded-content
 */
export function embeddedBytes({ data, digest, size }: Descriptor): Buffer | undefined {
  if (data === undefined) return undefined;
  const bytes = Buffer.from(data, 'base64');
  return bytes.length === size && digestLike(digest, bytes) === digest ? bytes : undefined;
}
