import { gzipSync } from 'node:zlib';
import { digestOf, type DigestAlgorithm } from './digest.ts';
import { seededBytes, type Seed } from './seeded-bytes.ts';
import { tarOf } from './tar.ts';

/** Media types of manifests, configs and layers. */
export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  cosignPayload: 'application/vnd.dev.cosign.simplesigning.v1+json',
} as const;

export interface ImagePlatform {
  os: string;
  architecture: string;
  variant?: string;
}

export interface ImageDescriptor {
  mediaType: string;
  digest: string;
  size: number;
  artifactType?: string;
  platform?: ImagePlatform;
  annotations?: Record<string, string>;
  urls?: string[];
}

export interface BuiltManifest {
  mediaType: string;
  bytes: Uint8Array;
}

/** An image, index or artifact with everything that it needs. */
export interface BuiltImage extends BuiltManifest {
  digest: string;
  /** What an index says of this image; absent for indexes and artifacts. */
  platform?: ImagePlatform;
  artifactType?: string;
  /** Configs and layers, those of all children included. */
  blobs: Map<string, Uint8Array>;
  /** Every manifest, children first and this one last. */
  manifests: Map<string, BuiltManifest>;
}

export interface ImageOptions {
  seed: Seed;
  /** Default 2. */
  layers?: number;
  /** Bytes of the one file in each layer, default 1024; the blob is some 2 KB larger. */
  layerBytes?: number;
  /** Default linux/amd64. */
  platform?: ImagePlatform;
  docker?: boolean;
  annotations?: Record<string, string>;
  algorithm?: DigestAlgorithm;
}

export interface IndexOptions {
  children: BuiltImage[];
  docker?: boolean;
  annotations?: Record<string, string>;
  subject?: ImageDescriptor;
  algorithm?: DigestAlgorithm;
}

/** A blob that has no digest yet. */
export interface BlobContent {
  mediaType: string;
  bytes: Uint8Array;
  annotations?: Record<string, string>;
  /** Where its owner has it. */
  urls?: string[];
}

export interface ArtifactOptions {
  seed: Seed;
  artifactType?: string;
  subject?: ImageDescriptor;
  annotations?: Record<string, string>;
  /** Default: the empty config. */
  config?: BlobContent;
  /** Default: one layer of 64 seeded bytes. */
  layers?: BlobContent[];
  algorithm?: DigestAlgorithm;
}

/** An image whose layers are real gzipped tars, so that `crane validate` can read it. */
export function buildImage(options: ImageOptions): BuiltImage {
  const { seed, layers = 2, layerBytes = 1024, docker = false } = options;
  const platform = options.platform ?? { os: 'linux', architecture: 'amd64' };
  const tars = Array.from({ length: layers }, (_, index) => layerTar(`${seed}/${index}`, layerBytes));
  const image = assemble({
    ...options,
    mediaType: docker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest,
    config: {
      mediaType: docker ? MEDIA_TYPES.dockerConfig : MEDIA_TYPES.ociConfig,
      bytes: imageConfig(seed, platform, tars),
    },
    layers: tars.map((tar) => ({
      mediaType: docker ? MEDIA_TYPES.dockerLayer : MEDIA_TYPES.ociLayer,
      bytes: gzip(tar),
    })),
  });
  return { ...image, platform };
}

/** An image index or docker manifest list; a child may be an index itself. */
export function buildIndex(options: IndexOptions): BuiltImage {
  const { children, docker = false, algorithm } = options;
  const mediaType = docker ? MEDIA_TYPES.dockerList : MEDIA_TYPES.ociIndex;
  const bytes = json({
    schemaVersion: 2,
    mediaType,
    manifests: children.map(descriptorOf),
    subject: options.subject,
    annotations: options.annotations,
  });
  const digest = digestOf(bytes, algorithm);
  return {
    mediaType,
    digest,
    bytes,
    blobs: new Map(children.flatMap((child) => [...child.blobs])),
    manifests: new Map([...children.flatMap((child) => [...child.manifests]), [digest, { mediaType, bytes }]]),
  };
}

/** An artifact: an OCI manifest that is no image, with a subject when it refers to one. */
export function buildArtifact(options: ArtifactOptions): BuiltImage {
  const image = assemble({
    ...options,
    mediaType: MEDIA_TYPES.ociManifest,
    config: options.config ?? { mediaType: MEDIA_TYPES.ociEmpty, bytes: Buffer.from('{}') },
    layers: options.layers ?? [{ mediaType: 'application/octet-stream', bytes: seededBytes(options.seed, 64) }],
  });
  return options.artifactType === undefined ? image : { ...image, artifactType: options.artifactType };
}

/** What cosign before version 3 puts under the tag of {@link cosignTag}; the signature itself is made up. */
export function cosignSignature(subject: { digest: string }): BuiltImage {
  const payload = Buffer.from(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': '' },
        image: { 'docker-manifest-digest': subject.digest },
        type: 'cosign container image signature',
      },
      optional: null,
    }),
  );
  const signature = Buffer.from(seededBytes(`signature/${subject.digest}`, 71)).toString('base64');
  return buildArtifact({
    seed: subject.digest,
    config: {
      mediaType: MEDIA_TYPES.ociConfig,
      bytes: json({
        architecture: '',
        created: '0001-01-01T00:00:00Z',
        os: '',
        rootfs: { type: 'layers', diff_ids: [digestOf(payload)] },
        config: {},
      }),
    },
    layers: [
      {
        mediaType: MEDIA_TYPES.cosignPayload,
        bytes: payload,
        annotations: { 'dev.cosignproject.cosign/signature': signature },
      },
    ],
  });
}

/** `sha256-<hex>.sig`, or another of cosign's suffixes. */
export function cosignTag(digest: string, suffix: 'sig' | 'att' | 'sbom' = 'sig'): string {
  return `${fallbackTag(digest)}.${suffix}`;
}

/** The tag `sha256-<hex>` that holds the referrers of a digest where a registry has no referrers API. */
export function fallbackTag(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return `${algorithm}-${hex.slice(0, 64)}`;
}

/** An index with one small image per platform, such as `linux/arm/v7`. */
export function multiArch(seed: Seed, platforms: string[] = ['linux/amd64', 'linux/arm64']): BuiltImage {
  return buildIndex({
    children: platforms.map((name) => buildImage({ seed: `${seed}/${name}`, platform: parsePlatform(name) })),
  });
}

/** What an index or a subject field says of a manifest. */
export function descriptorOf(image: BuiltImage): ImageDescriptor {
  const { mediaType, digest, bytes, artifactType, platform } = image;
  return {
    mediaType,
    digest,
    size: bytes.length,
    ...(artifactType !== undefined && { artifactType }),
    ...(platform && { platform }),
  };
}

interface Parts {
  mediaType: string;
  config: BlobContent;
  layers: BlobContent[];
  artifactType?: string;
  subject?: ImageDescriptor;
  annotations?: Record<string, string>;
  algorithm?: DigestAlgorithm;
}

function assemble(parts: Parts): BuiltImage {
  const { mediaType, algorithm } = parts;
  const describe = (blob: BlobContent): ImageDescriptor => ({
    mediaType: blob.mediaType,
    digest: digestOf(blob.bytes, algorithm),
    size: blob.bytes.length,
    ...(blob.annotations && { annotations: blob.annotations }),
    ...(blob.urls && { urls: blob.urls }),
  });
  const bytes = json({
    schemaVersion: 2,
    mediaType,
    artifactType: parts.artifactType,
    config: describe(parts.config),
    layers: parts.layers.map(describe),
    subject: parts.subject,
    annotations: parts.annotations,
  });
  const digest = digestOf(bytes, algorithm);
  return {
    mediaType,
    digest,
    bytes,
    blobs: new Map([parts.config, ...parts.layers].map((blob) => [digestOf(blob.bytes, algorithm), blob.bytes])),
    manifests: new Map([[digest, { mediaType, bytes }]]),
  };
}

function imageConfig(seed: Seed, platform: ImagePlatform, tars: Uint8Array[]): Uint8Array {
  const created = '1970-01-01T00:00:00Z';
  return json({
    created,
    architecture: platform.architecture,
    variant: platform.variant,
    os: platform.os,
    config: { Env: ['PATH=/usr/bin'], Labels: { seed: String(seed) } },
    // Diff ids are sha256 whatever the algorithm of the descriptors: readers compute nothing else.
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) },
    history: tars.map((_, index) => ({ created, created_by: `layer ${index}` })),
  });
}

function layerTar(seed: Seed, size: number): Uint8Array {
  return tarOf([{ path: `data/${digestOf(Buffer.from(String(seed))).slice(7, 19)}`, bytes: seededBytes(seed, size) }]);
}

function gzip(tar: Uint8Array): Uint8Array {
  // Stored blocks: the bytes do not depend on the version of zlib, and large layers are built fast.
  return gzipSync(tar, { level: 0 });
}

function parsePlatform(name: string): ImagePlatform {
  const [os = '', architecture = '', variant] = name.split('/');
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

function json(value: unknown): Uint8Array {
  // Indented as docker does it: whoever parses and prints a manifest again changes its digest.
  return Buffer.from(JSON.stringify(value, null, 3));
}
