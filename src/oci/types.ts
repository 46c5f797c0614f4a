import type { Descriptor } from '../core/descriptor.ts';
import { MirrorError } from '../core/errors.ts';
import { metadataLimit } from '../core/stream.ts';
import { digestSchema, parseJson, validate, z } from '../core/validate.ts';

/** https://github.com/opencontainers/image-spec/blob/main/media-types.md */
export const mediaTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

/** What we can read as a manifest, best first: the Accept header of every request for one. */
export const manifestMediaTypes: readonly string[] = Object.values(mediaTypes);

export function isManifest(descriptor: { mediaType: string }): boolean {
  return manifestMediaTypes.includes(descriptor.mediaType);
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
});

const documentSchema = z.object({
  schemaVersion: z.literal(2),
  // A manifest that calls itself something else would be pushed as something else.
  mediaType: z.enum(mediaTypes).optional(),
  artifactType: z.string().optional(),
  config: descriptorSchema.optional(),
  layers: z.array(descriptorSchema).max(10_000).optional(),
  manifests: z.array(descriptorSchema).max(10_000).nullish(),
  subject: descriptorSchema.nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
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
  const result: ManifestDocument = {
    mediaType: document.mediaType ?? inferMediaType(document, mediaType),
    manifests: document.manifests ?? [],
    blobs: [...(document.config ? [document.config] : []), ...(document.layers ?? [])],
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
      { at: { item } },
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
