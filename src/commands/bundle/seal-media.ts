import { expectationOf } from '../../core/stream.ts';
import { createHash, type Hash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CarriedFile } from '../../bundle/writing/carried.ts';
import { verifyGuide } from '../../bundle/writing/guide.ts';
import { bundleFiles, type Inventory } from '../../bundle/records/inventory.ts';
import { inventoryChunks } from '../../bundle/records/inventory-text.ts';
import { lostMedium, midwayError } from '../../bundle/medium-errors.ts';
import { formatSums } from '../../bundle/proof/seal.ts';
import { writeFileAtomic } from '../../fs/atomic.ts';
import { syncDirectory } from '../../fs/directories.ts';
import { receiveFile } from '../../fs/receive.ts';
import type { SigningKey } from '../records/signing.ts';
import type { CarriedNodes } from './node.ts';

export interface Sealable {
  inventory: Inventory;
  carried: readonly CarriedFile[];
  nodes: CarriedNodes['nodes'];
  /** The directory of each volume, by its name. */
  media: ReadonlyMap<string, string>;
}

/**
 * Each medium gets everything but the volumes of the others, and SHA256SUMS when all of them are written.
 * @throws E_MEDIUM for one that is gone or worn out, E_NO_SPACE, E_SIGNATURE
 */
export async function seal(
  directories: readonly string[],
  sealable: Sealable,
  key: SigningKey | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { inventory, carried, nodes } = sealable;
  const sums = new Map(inventory.volumes.map((volume) => [volume.name, volume.digest.slice('sha256:'.length)]));
  const onEach = async (name: string, write: (path: string) => Promise<void>): Promise<void> => {
    for (const directory of directories) {
      const path = join(directory, name);
      await write(path).catch((error: unknown) => {
        throw midwayError(error, path);
      });
    }
  };
  const put = async (name: string, data: string): Promise<void> =>
    onEach(name, async (path) => writeFileAtomic(path, data));
  // A directory that is made anew because its medium was pulled would be sealed all the same.
  await checkVolumes(sealable);
  for (const { name, content, sha256: hex } of carried) {
    const expected = expectationOf({ digest: `sha256:${hex}`, size: content.size }, name);
    await onEach(name, async (path) => receiveFile(path, content, expected, { signal }));
    sums.set(name, hex);
  }
  const guide = verifyGuide(inventory, key?.fingerprint, nodes);
  await put(bundleFiles.guide, guide);
  sums.set(bundleFiles.guide, createHash('sha256').update(guide).digest('hex'));
  let written: Hash = createHash('sha256');
  await onEach(bundleFiles.inventory, async (path) => {
    written = createHash('sha256');
    await writeFileAtomic(path, hashing(inventoryChunks(inventory), written));
  });
  sums.set(bundleFiles.inventory, written.digest('hex'));
  // What the sums speak of is on the medium before they are.
  for (const directory of directories) await syncDirectory(directory);
  const text = formatSums(sums);
  const signatures = await key?.sign(Buffer.from(text));
  await checkVolumes(sealable);
  if (signatures) {
    await put(bundleFiles.signature, signatures.plain);
    await put(bundleFiles.sigstore, signatures.sigstore);
  }
  await put(bundleFiles.sums, text);
}

/** @throws E_MEDIUM */
async function checkVolumes({ inventory, media }: Sealable): Promise<void> {
  for (const { name, size } of inventory.volumes) {
    const path = join(media.get(name) ?? '', name);
    const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
    if (found instanceof Error) throw lostMedium(path, found.code ?? found.message, found);
    if (found.size !== size) throw lostMedium(path, `${found.size} of ${size} bytes`);
  }
}

function* hashing(chunks: Iterable<Buffer>, hash: Hash): Generator<Buffer> {
  for (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}
