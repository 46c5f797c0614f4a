import type { Checksum } from '../../core/digest.ts';

/** A regular file on its way into a bundle. */
export interface SourceFile {
  /** In the store, and in the bundle. */
  path: string;
  size: number;
  /** What the store says that its bytes are, where it says so: a rotten store is caught here. */
  checksum?: Checksum | undefined;
  /** What to do when they are others. */
  hint?: string | undefined;
}
