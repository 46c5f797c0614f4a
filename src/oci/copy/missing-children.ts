import { MirrorError } from '../../core/errors.ts';
import type { GraphNode } from '../graph.ts';

/** Does what makes the target look at children of a manifest; when it misses some, they are pushed whatever it said before. */
export async function healing(force: () => Promise<void>, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof MirrorError && error.code === 'E_BLOB_UNKNOWN')) throw error;
    // An earlier copy was interrupted, something was deleted, or the target's cache lied.
    await force();
    await work();
  }
}

/** Most registries take an index only with all of its children. @throws E_REFUSED, and what `work` throws */
export async function refusedForHoles({ descriptor }: GraphNode, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof MirrorError && ['E_BLOB_UNKNOWN', 'E_REFUSED', 'E_NOT_FOUND'].includes(error.code)))
      throw error;
    throw new MirrorError(
      'E_REFUSED',
      `the target takes no index of which children are missing: \`${descriptor.digest}\` was copied with \`--sparse\``,
      {
        hint: 'leave out `--sparse`: then the target gets a smaller index, of the chosen platforms alone, with a digest of its own',
        at: { ...error.at, side: 'target' },
        cause: error,
      },
    );
  }
}
