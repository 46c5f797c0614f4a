import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** What may have very many elements: a plain array, or a {@link PackedList}. */
export interface LongList<T> extends Iterable<T> {
  readonly length: number;
  at(index: number): T | undefined;
  map<R>(make: (value: T) => R): R[];
  filter(isWanted: (value: T) => boolean): T[];
  find(isWanted: (value: T) => boolean): T | undefined;
  reduce<R>(add: (sum: R, value: T) => R, start: R): R;
}

/** Each element as something else. */
export function packed<T, R>(list: Iterable<T>, make: (value: T) => R): PackedList<R> {
  const made = new PackedList<R>();
  for (const value of list) made.push(make(value));
  return made;
}

/** Few, so that a single element is soon there, and enough to find what they have in common. */
const packSize = 32;

/**
 * A list of plain data that takes a fifth of what its objects would: all but its last elements are JSON, and deflated.
 * What is taken out is a copy. Made to be gone through in order; a single element costs some ten microseconds.
 */
export class PackedList<T> implements LongList<T> {
  readonly #packs: Buffer[] = [];
  #last: T[] = [];
  /** What was unpacked most recently. */
  #open: { index: number; values: T[] } | undefined;

  get length(): number {
    return this.#packs.length * packSize + this.#last.length;
  }

  push(value: T): void {
    // A full list is packed when the next one comes: a short one never is.
    if (this.#last.length === packSize) {
      const packed = deflateRawSync(JSON.stringify(this.#last), { level: 1 });
      // The one that comes is a part of a much larger one, and so would be one of the usual kind.
      const pack = Buffer.allocUnsafeSlow(packed.length);
      packed.copy(pack);
      this.#packs.push(pack);
      this.#last = [];
    }
    this.#last.push(value);
  }

  at(index: number): T | undefined {
    return index < this.length ? this.#valuesOf(Math.floor(index / packSize))[index % packSize] : undefined;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let pack = 0; pack <= this.#packs.length; pack += 1) yield* this.#valuesOf(pack);
  }

  map<R>(make: (value: T) => R): R[] {
    const made: R[] = [];
    for (const value of this) made.push(make(value));
    return made;
  }

  filter(isWanted: (value: T) => boolean): T[] {
    const wanted: T[] = [];
    for (const value of this) if (isWanted(value)) wanted.push(value);
    return wanted;
  }

  find(isWanted: (value: T) => boolean): T | undefined {
    for (const value of this) if (isWanted(value)) return value;
    return undefined;
  }

  reduce<R>(add: (sum: R, value: T) => R, start: R): R {
    let sum = start;
    for (const value of this) sum = add(sum, value);
    return sum;
  }

  #valuesOf(index: number): T[] {
    const pack = this.#packs[index];
    if (!pack) return this.#last;
    if (this.#open?.index !== index)
      this.#open = { index, values: JSON.parse(inflateRawSync(pack).toString('utf8')) as T[] };
    return this.#open.values;
  }
}
