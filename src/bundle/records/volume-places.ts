import { printable } from '../../core/text.ts';
import { type BundleVolume, corruptInventory } from './inventory.ts';
import { NumberList } from '../lists/number-list.ts';

/** Looks whether each entry has its place in a volume to itself. */
export class VolumePlaces {
  readonly #volumes: readonly BundleVolume[];
  readonly #taken: { starts: NumberList; ends: NumberList }[];

  constructor(volumes: readonly BundleVolume[]) {
    this.#volumes = volumes;
    this.#taken = volumes.map(() => ({ starts: new NumberList(), ends: new NumberList() }));
  }

  /**
   * @param number of the volume, from 1
   * @throws E_CORRUPT when it has no such place
   */
  add(path: string, number: number, start: number, end: number): void {
    const volume = this.#volumes[number - 1];
    const taken = this.#taken[number - 1];
    if (!volume || !taken || start < 0 || end > volume.size)
      throw corruptInventory(`a part of \`${printable(path)}\` lies outside its volume`);
    taken.starts.push(start);
    taken.ends.push(end);
  }

  /** @throws E_CORRUPT when two lie over each other */
  end(): void {
    for (const [index, { starts, ends }] of this.#taken.entries()) {
      // Places lie side by side when, each sorted for itself, every one ends before the next one begins.
      const inOrder = starts.values.sort();
      const late = ends.values.sort().findIndex((end, at) => end > (inOrder[at + 1] ?? end));
      if (late >= 0)
        throw corruptInventory(
          `an entry overlaps another one in \`${this.#volumes[index]?.name}\`, at byte ${inOrder[late + 1]}`,
        );
    }
  }
}
