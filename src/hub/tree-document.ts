import type { Checksum } from '../core/digest.ts';
import { parseJson, validate } from '../core/validate.ts';
import * as z from '../core/zod.ts';
import type { RepoFile } from './repo.ts';

/** The content of `trees/COMMIT.json`, the same for the same files. */
export function treeDocument(files: readonly RepoFile[]): string {
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  const entries = sorted.map(({ path, size, checksum, gitOid }) => [
    path,
    { size, blob_id: gitOid, ...(checksum.algorithm === 'sha256' ? { lfs_sha256: checksum.hex, lfs_size: size } : {}) },
  ]);
  return JSON.stringify({ format_version: 1, files: Object.fromEntries(entries) });
}

/** What the hub declared of each file that such a list names. @throws E_CORRUPT */
export function readTreeDocument(text: string, name: string): Map<string, Checksum> {
  const { files } = validate(treeSchema, parseJson(text, name), name);
  // Entries, and not the record that the schema makes of them: a file may be called `__proto__`.
  return new Map(
    Object.entries(files).map(([path, entry]) => {
      const { blob_id: gitOid, lfs_sha256: sha256 } = validate(entrySchema, entry, `${name}: ${path}`);
      return [
        path,
        sha256 === undefined ? { algorithm: 'git-sha1', hex: gitOid } : { algorithm: 'sha256', hex: sha256 },
      ];
    }),
  );
}

const treeSchema = z.object({
  files: z.custom<object>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'is not what the hub has of each file',
  ),
});
const entrySchema = z.object({ blob_id: z.string(), lfs_sha256: z.string().optional() });
