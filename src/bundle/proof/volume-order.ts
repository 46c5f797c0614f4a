import type { BundleBlob, BundleLink, Inventory } from '../records/inventory.ts';
import { partName } from '../writing/layout.ts';
import { NumberList } from '../lists/number-list.ts';
import { type tarHeader, tarHeaderSize } from '../writing/tar-header.ts';

/** A member as the inventory has it; the header that must stand before it is made when it is compared. */
export interface Expected {
  start: number;
  member: Parameters<typeof tarHeader>[0];
  size: number;
}

/** A link, or a part of a file, by its number from 0. */
type Entry = { blob: BundleBlob; part: number; link?: undefined } | { blob?: undefined; part: 0; link: BundleLink };

/** Where each member of a volume is said to begin, with the place of what it is of in the inventory's lists. */
interface Members {
  offsets: NumberList;
  /** Counts the blobs, and then the links. */
  indexes: NumberList;
  parts: NumberList;
}

/** What lies in each volume, in the order in which it does: as numbers, of which things are made when they are asked for. */
export class VolumeOrder {
  readonly #inventory: Inventory;
  readonly #volumes = new Map<number, Members>();

  constructor(inventory: Inventory) {
    this.#inventory = inventory;
    let index = 0;
    for (const { parts } of inventory.blobs) {
      for (const [part, { volume, offset }] of parts.entries()) this.#add(volume, offset, index, part);
      index += 1;
    }
    for (const { volume, offset } of inventory.links) {
      this.#add(volume, offset, index, 0);
      index += 1;
    }
  }

  /** What lies in a volume. */
  *entries(volume: number): Generator<Entry> {
    const members = this.#volumes.get(volume);
    if (!members) return;
    const { blobs, links } = this.#inventory;
    const [offsets, indexes, parts] = [members.offsets.values, members.indexes.values, members.parts.values];
    const order = Uint32Array.from(offsets.keys()).sort((a, b) => (offsets[a] ?? 0) - (offsets[b] ?? 0));
    for (const at of order) {
      const index = indexes[at] ?? 0;
      const blob = index < blobs.length ? blobs.at(index) : undefined;
      const link = blob ? undefined : links.at(index - blobs.length);
      if (blob) yield { blob, part: parts[at] ?? 0 };
      else if (link) yield { link, part: 0 };
    }
  }

  /** The same as members of a tar. */
  *members(volume: number): Generator<Expected> {
    for (const { blob, part, link } of this.entries(volume)) {
      if (link) yield { start: link.offset, member: { path: link.path, link: link.target }, size: 0 };
      else {
        const { path, parts } = blob;
        const { offset = 0, size = 0 } = parts[part] ?? {};
        const member = { path: parts.length > 1 ? partName(path, part + 1, parts.length) : path, size };
        yield { start: offset - tarHeaderSize(member), member, size };
      }
    }
  }

  #add(volume: number, offset: number, index: number, part: number): void {
    const members = this.#volumes.get(volume) ?? {
      offsets: new NumberList(),
      indexes: new NumberList(),
      parts: new NumberList(),
    };
    this.#volumes.set(volume, members);
    members.offsets.push(offset);
    members.indexes.push(index);
    members.parts.push(part);
  }
}
