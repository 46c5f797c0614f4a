import type { Descriptor } from '../core/descriptor.ts';
import type { Checksum } from '../core/digest.ts';
import { digestSchema as digest, z } from '../core/validate.ts';

const model = z.strictObject({ repo: z.string(), revision: z.string().optional() });
const image = z.strictObject({ ref: z.string(), to: z.string().optional() });
const rewrite = z.strictObject({ from: z.string(), to: z.string() });

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'may have letters, digits, `.`, `_` and `-`');

/** The user's YAML: what to mirror. */
export const mirrorManifestSchema = z.strictObject({
  apiVersion: z.literal('sie-mirror/v1'),
  kind: z.literal('MirrorManifest'),
  metadata: z.strictObject({ name }),
  models: z.array(model).default([]),
  images: z.array(image).default([]),
  rewrite: z.array(rewrite).default([]),
});

export type MirrorManifest = z.infer<typeof mirrorManifestSchema>;

export const lockSchemaId = 'sie-mirror/lock/v1';

/** A model pinned to a commit with all its files. */
export interface LockedModel {
  repo: string;
  revision: string;
  /** The hub's own name for the repo. */
  canonical: string;
  commit: string;
  gated: boolean;
  license?: string | undefined;
  files: { path: string; size: number; checksum: Checksum; gitOid: string }[];
}

/** An image pinned to a digest. */
export interface LockedImage {
  /** As users write it, completed: `docker.io/library/nats:2.12`. */
  reference: string;
  root: Descriptor;
  /** Of everything that belongs to it. */
  bytes: number;
  /** Repository below the registry that it is imported to. */
  to: string;
}

/** The plan as a file: every name pinned. */
export interface Lock {
  schema: typeof lockSchemaId;
  name: string;
  models: LockedModel[];
  images: LockedImage[];
}

const size = z.number().int().nonnegative();
const repo = z.string().regex(/^(?:[A-Za-z0-9][\w.-]*\/)?[A-Za-z0-9][\w.-]*$/, 'is not a repo');
const checksum = z.discriminatedUnion('algorithm', [
  z.strictObject({ algorithm: z.literal('sha256'), hex: z.string().regex(/^[0-9a-f]{64}$/) }),
  z.strictObject({ algorithm: z.literal('git-sha1'), hex: z.string().regex(/^[0-9a-f]{40}$/) }),
]);
const commit = z.string().regex(/^[0-9a-f]{40}$/, 'is not a commit');

export const lockSchema: z.ZodType<Lock> = z.strictObject({
  schema: z.literal(lockSchemaId),
  name,
  models: z.array(
    z.strictObject({
      repo,
      revision: z.string(),
      canonical: z.string(),
      commit,
      gated: z.boolean(),
      license: z.string().optional(),
      files: z.array(
        z.strictObject({
          path: z.string(),
          size,
          checksum,
          gitOid: z.string(),
        }),
      ),
    }),
  ),
  images: z.array(
    z.strictObject({
      reference: z.string(),
      root: z.strictObject({ mediaType: z.string(), digest, size, artifactType: z.string().optional() }),
      bytes: size,
      to: z.string(),
    }),
  ),
});
