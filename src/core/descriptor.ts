import type { Digest } from './digest.ts';

/** https://github.com/opencontainers/image-spec/blob/main/image-index.md#image-index-property-descriptions */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string | undefined;
}

/** Names some bytes: https://github.com/opencontainers/image-spec/blob/main/descriptor.md */
export interface Descriptor {
  mediaType: string;
  digest: Digest;
  /** In bytes. */
  size: number;
  artifactType?: string | undefined;
  platform?: Platform | undefined;
  annotations?: Record<string, string> | undefined;
  urls?: string[] | undefined;
  /** The bytes themselves, in base64: https://github.com/opencontainers/image-spec/blob/main/descriptor.md#embedded-content */
  data?: string | undefined;
  /** Known to be a manifest, though its media type does not say so. */
  isManifest?: true | undefined;
}

/** How many bytes they are together. */
export function totalSize(parts: Iterable<{ readonly size: number }>): number {
  let sum = 0;
  for (const { size } of parts) sum += size;
  return sum;
}
