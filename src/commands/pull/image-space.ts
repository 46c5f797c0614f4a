import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Descriptor } from '../../core/descriptor.ts';
import type { Digest } from '../../core/digest.ts';
import { partialSuffix } from '../../fs/atomic.ts';
import { sizeOf } from '../../fs/receive.ts';
import type { LockedImage } from '../../manifest/schema.ts';
import { descriptorsOf, readImage } from '../../oci/graph.ts';
import { blobPath } from '../../oci/layout/layout.ts';
import type { Context } from '../context.ts';
import { openSource } from '../places/endpoint.ts';
import type { Need } from '../store/space.ts';

/**
 * What images will take in the store's layout. A lock has their sizes; what they share, and what is there already, has to
 * be asked of their registries.
 */
export function needOfImages(images: readonly LockedImage[], store: string, context: Context): Need {
  return {
    atMost: images.reduce((sum, { bytes }) => sum + bytes, 0),
    exactly: async () => {
      const blobs = new Map<Digest, number>();
      for (const image of images) for (const { digest, size } of await partsOf(image, context)) blobs.set(digest, size);
      let bytes = 0;
      for (const [digest, size] of blobs) bytes += await missingOf(join(store, 'oci', blobPath(digest)), size);
      return bytes;
    },
  };
}

/** What cannot be asked for counts as nothing: its failure is told when it is to be copied. */
async function partsOf({ reference, root }: LockedImage, context: Context): Promise<Descriptor[]> {
  const { slots, signal } = context;
  try {
    const { source } = await openSource(context, reference);
    return descriptorsOf(await readImage(source, root, { slots, referrers: true, signal }));
  } catch {
    signal.throwIfAborted();
    return [];
  }
}

/** What an earlier run left of a blob has more in its name than the suffix. */
async function missingOf(path: string, size: number): Promise<number> {
  if ((await sizeOf(path)) === size) return 0;
  const beside = await readdir(dirname(path)).catch(() => []);
  const partial = beside.filter((name) => name.startsWith(`${basename(path)}.`) && name.endsWith(partialSuffix));
  const sizes = await Promise.all(partial.map((name) => sizeOf(join(dirname(path), name))));
  return Math.max(0, size - Math.max(0, ...sizes));
}
