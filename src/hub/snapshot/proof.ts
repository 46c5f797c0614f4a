import { Check } from '../../core/stream.ts';
import { isWrongBytes } from '../../core/errors.ts';
import type { HashPool } from '../../fs/hash-pool.ts';
import { fileContent } from '../../fs/read.ts';
import type { RepoFile } from '../repo.ts';

/** Whether a file on disk has the very bytes that the hub declares. */
export async function hasRightBytes(
  path: string,
  file: RepoFile,
  pool: () => HashPool,
  signal?: AbortSignal,
): Promise<boolean> {
  const extent = { path, offset: 0, size: file.size };
  const { checksum, sha256 = checksum.algorithm === 'sha256' ? checksum.hex : undefined } = file;
  if (sha256 !== undefined) return (await pool().sha256([extent])) === sha256;
  const check = new Check({ size: file.size, checksum, item: path });
  try {
    for await (const chunk of fileContent([extent]).open(0, signal)) check.update(chunk);
    check.finish();
    return true;
  } catch (error) {
    if (isWrongBytes(error)) return false;
    throw error;
  }
}
