import type { Descriptor } from '../core/descriptor.ts';
import type { Checksum } from '../core/digest.ts';
import { digestSchema as digest } from '../core/validate.ts';
import * as z from '../core/zod.ts';

const repoType = z.enum(['model', 'dataset', 'space']);
const preset = z.enum(['all', 'sie']);
const patterns = z.array(z.string().min(1));
const model = z.strictObject({
  repo: z.string(),
  revision: z.string().optional(),
  type: repoType.default('model'),
  filter: preset.default('sie'),
  include: patterns.default([]),
  exclude: patterns.default([]),
  companions: z.boolean().default(false),
});
const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, 'is not a sha256 in hex');
/** Names below `files/` of the store, where licences have a folder of their own and what ends so is not whole. */
const fileNamePattern = /^(?!licences$)(?!.*\.partial$)[A-Za-z0-9][\w.+-]{0,199}$/;
const fileName = z.string().regex(fileNamePattern, 'may have letters, digits, `.`, `_`, `+` and `-`');
const file = z.strictObject({ url: z.string(), sha256: sha256Hex.optional(), name: fileName.optional() });
const image = z.strictObject({ ref: z.string(), to: z.string().optional() });
const rewrite = z.strictObject({ from: z.string(), to: z.string() });

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'may have letters, digits, `.`, `_` and `-`');

/** Whether a single file can have this name in the store. */
export function isFileName(text: string): boolean {
  return fileNamePattern.test(text);
}

/** The user's YAML: what to mirror. */
export const mirrorManifestSchema = z.strictObject({
  apiVersion: z.literal('sie-mirror/v1'),
  kind: z.literal('MirrorManifest'),
  metadata: z.strictObject({ name }),
  models: z.array(model).default([]),
  images: z.array(image).default([]),
  files: z.array(file).default([]),
  rewrite: z.array(rewrite).default([]),
});

export type MirrorManifest = z.infer<typeof mirrorManifestSchema>;

export const lockSchemaId = 'sie-mirror/lock/v1';

/** A file of a repo with the hub's own hash of it. */
export interface LockedRepoFile {
  path: string;
  size: number;
  checksum: Checksum;
  gitOid: string;
  /** In hex; of files outside LFS it is known when they have been fetched. */
  sha256?: string | undefined;
}

/** A repo pinned to a commit with all its files that are wanted. */
export interface LockedModel {
  type: 'model' | 'dataset' | 'space';
  repo: string;
  revision: string;
  /** The hub's own name for the repo. */
  canonical: string;
  commit: string;
  gated: boolean;
  license?: string | undefined;
  /** What chose the files; absent where all are wanted. */
  filter?: { preset: 'all' | 'sie'; include: readonly string[]; exclude: readonly string[] } | undefined;
  files: LockedRepoFile[];
  /** Licences and model cards that are carried beside the snapshot. */
  notices?: LockedRepoFile[] | undefined;
  /** The files that named this repo, when it is a companion of others. */
  namedBy?: { repo: string; file: string; key: string }[] | undefined;
}

/** A single file by its address; size and sha256 are known at the latest when it has been fetched. */
export interface LockedFile {
  url: string;
  /** Below `files/` of the store. */
  name: string;
  size?: number | undefined;
  /** In hex. */
  sha256?: string | undefined;
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
  files: LockedFile[];
}

const size = z.number().int().nonnegative();
const repo = z.string().regex(/^(?:\w[\w.-]*\/)?\w[\w.-]*$/, 'is not a repo');
const checksum = z.discriminatedUnion('algorithm', [
  z.strictObject({ algorithm: z.literal('sha256'), hex: z.string().regex(/^[0-9a-f]{64}$/) }),
  z.strictObject({ algorithm: z.literal('git-sha1'), hex: z.string().regex(/^[0-9a-f]{40}$/) }),
]);
const repoFiles = z.array(
  z.strictObject({ path: z.string(), size, checksum, gitOid: z.string(), sha256: sha256Hex.optional() }),
);
const commit = z.string().regex(/^[0-9a-f]{40}$/, 'is not a commit');

export const lockSchema: z.ZodType<Lock> = z.strictObject({
  schema: z.literal(lockSchemaId),
  name,
  models: z.array(
    z.strictObject({
      type: repoType.default('model'),
      repo,
      revision: z.string(),
      canonical: z.string(),
      commit,
      gated: z.boolean(),
      license: z.string().optional(),
      filter: z.strictObject({ preset, include: patterns, exclude: patterns }).optional(),
      files: repoFiles,
      notices: repoFiles.optional(),
      namedBy: z.array(z.strictObject({ repo: z.string(), file: z.string(), key: z.string() })).optional(),
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
  files: z
    .array(z.strictObject({ url: z.string(), name: fileName, size: size.optional(), sha256: sha256Hex.optional() }))
    .default([]),
});
