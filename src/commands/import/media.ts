import type { BundleBlob } from '../../bundle/records/inventory.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import { MirrorError } from '../../core/errors.ts';
import { inBackticks, plural } from '../../core/text.ts';

/** Volumes that an import needs and that are not here: it ends by naming them, and goes on when they are. */
export class MediaToCome {
  readonly #volumes = new Set<string>();
  /** Sets of volumes that hold one file together, of which some are here and some are not. */
  readonly #together = new Set<string>();

  /** @throws E_MEDIUM when there are such blobs */
  refuse(blobs: readonly BundleBlob[], item: string, reader: Pick<BundleReader, 'inventory' | 'lacking'>): void {
    if (blobs.length === 0) return;
    const lacking = [...new Set(blobs.flatMap((blob) => reader.lacking(blob)))].sort();
    for (const name of lacking) this.#volumes.add(name);
    for (const { parts } of blobs.filter((blob) => reader.lacking(blob).length < blob.parts.length))
      this.#together.add(parts.map(({ volume }) => reader.inventory.volumes[volume - 1]?.name).join('`, `'));
    throw new MirrorError(
      'E_MEDIUM',
      `\`${item}\`: ${plural(blobs.length, 'file')} of it ${blobs.length === 1 ? 'is' : 'are'} in volumes that are not here: \`${lacking.join('`, `')}\``,
      {
        hint: 'insert the medium that holds them, and run the same command again: what has arrived is kept',
        at: { side: 'source', item },
      },
    );
  }

  /** What to do next, in the order of the volumes; nothing when all that is wanted was here. */
  next(): string[] {
    const [first, ...others] = [...this.#volumes].sort();
    if (first === undefined) return [];
    const then = others.length === 0 ? '' : ` (then ${inBackticks(others)})`;
    return [
      ...[...this.#together].map((names) => `a file lies across \`${names}\`: name all their directories with --from`),
      `next: insert volume \`${first}\`${then} and run the same command again`,
    ];
  }
}
