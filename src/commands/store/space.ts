import { statfs } from 'node:fs/promises';
import { MirrorError } from '../../core/errors.ts';
import { formatBytes } from '../../core/text.ts';

/** Bytes that are to come into a store. */
export interface Need {
  /** Never less than will come. */
  atMost: number;
  /** Counts them; where that costs something it is done only when the space may not do. */
  exactly: () => Promise<number>;
}

/** Compares what is to come with what is free, where the file system tells it. @throws E_NO_SPACE */
export async function checkSpace(store: string, needs: readonly Need[]): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(store);
  const free = bavail * bsize;
  // Some file systems do not tell, and have no blocks at all then.
  if (blocks === 0 || needs.reduce((sum, { atMost }) => sum + atMost, 0) <= free) return;
  let needed = 0;
  for (const { exactly } of needs) needed += await exactly();
  if (needed > free)
    throw new MirrorError(
      'E_NO_SPACE',
      `\`${store}\` has ${formatBytes(free)} free, ${formatBytes(needed)} are still to be fetched`,
      { hint: 'free some space, or choose another place with `--store`', at: { side: 'target', item: store } },
    );
}
