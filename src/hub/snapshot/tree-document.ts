import type { Checksum } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { JsonCursor, JsonFault } from '../safety/json-cursor.ts';
import type { RepoFile } from '../repo.ts';

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
export function readTreeDocument(bytes: Buffer, name: string): Map<string, Checksum> {
  const listed = new Map<string, Checksum>();
  eachListed(bytes, name, (path, checksum) => listed.set(path, checksum));
  return listed;
}

/** The same, file by file: there may be very many. @throws E_CORRUPT, maybe after some files */
export function eachListed(bytes: Buffer, name: string, found: (path: string, checksum: Checksum) => void): void {
  const json = new JsonCursor(bytes);
  let isList = false;
  try {
    json.object((key) => {
      if (key !== 'files') return json.skip();
      isList = true;
      json.object((path) => found(path, readEntry(json)));
    });
    json.end();
  } catch (error) {
    if (error instanceof JsonFault) throw corrupt(name, error.message);
    throw error;
  }
  if (!isList) throw corrupt(name, 'has no list of files');
}

function readEntry(json: JsonCursor): Checksum {
  const hashes: Record<string, string> = {};
  json.object((key) => {
    if (key === 'blob_id' || key === 'lfs_sha256') hashes[key] = json.string();
    else json.skip();
  });
  const { blob_id: gitOid, lfs_sha256: sha256 } = hashes;
  if (gitOid === undefined) throw new JsonFault('does not say what the hub has of each file');
  return sha256 === undefined ? { algorithm: 'git-sha1', hex: gitOid } : { algorithm: 'sha256', hex: sha256 };
}

function corrupt(name: string, problem: string): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${printable(name)}\` ${printable(problem)}`, { at: { item: name } });
}
