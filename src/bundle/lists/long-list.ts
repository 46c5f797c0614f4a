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

/** What follows from going through a list. */
abstract class Loops<T> implements LongList<T> {
  abstract readonly length: number;
  abstract at(index: number): T | undefined;
  abstract [Symbol.iterator](): Generator<T>;

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
}

/** A long list of which each element is made when it is taken out. */
export class MadeList<S, T> extends Loops<T> {
  readonly #list: LongList<S>;
  readonly #make: (value: S) => T;

  constructor(list: LongList<S>, make: (value: S) => T) {
    super();
    this.#list = list;
    this.#make = make;
  }

  get length(): number {
    return this.#list.length;
  }

  at(index: number): T | undefined {
    const value = this.#list.at(index);
    return value === undefined ? undefined : this.#make(value);
  }

  *[Symbol.iterator](): Generator<T> {
    for (const value of this.#list) yield this.#make(value);
  }
}

/** One list after the other. */
export function* inTurn<T>(lists: Iterable<Iterable<T>>): Generator<T> {
  for (const list of lists) yield* list;
}

/** Few, so that a single element is soon there, and enough to find what they have in common. */
const packSize = 32;

/** With a window as large as what is deflated, about: the usual one takes a quarter of a megabyte for each call. */
const deflating = { level: 1, windowBits: 13, memLevel: 6 };

const firstSlab = 4 * 1024;
const largestSlab = 256 * 1024;

/** Memory for many small pieces that stay: each by itself, they would leave gaps of all sizes between them. */
class Slabs {
  #slab = Buffer.alloc(0);
  #used = 0;
  #next = firstSlab;

  keep(bytes: Buffer): Buffer {
    if (this.#slab.length - this.#used < bytes.length) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(this.#next, bytes.length));
      this.#used = 0;
      this.#next = Math.min(2 * this.#next, largestSlab);
    }
    const kept = this.#slab.subarray(this.#used, this.#used + bytes.length);
    bytes.copy(kept);
    this.#used += bytes.length;
    return kept;
  }
}

/**
 * A list of plain data that takes a fifth of what its objects would: all but its last elements are JSON, and deflated.
 * What is taken out is a copy. Made to be gone through in order; a single element costs some ten microseconds.
 */
export class PackedList<T> extends Loops<T> {
  readonly #memory = new Slabs();
  readonly #packs: Buffer[] = [];
  /** How many elements come before each pack, and before what is not packed. */
  readonly #starts: number[] = [];
  #packedLength = 0;
  #last: T[] = [];
  /** What was unpacked most recently. */
  #open: { index: number; values: T[] } | undefined;

  get length(): number {
    return this.#packedLength + this.#last.length;
  }

  push(value: T): void {
    // A full list is packed when the next one comes: a short one never is.
    if (this.#last.length === packSize) this.#pack();
    this.#last.push(value);
  }

  /** Adds all elements of another list, whose memory the two then share. */
  append(other: PackedList<T>): void {
    if (this.#last.length > 0) this.#pack();
    for (const [index, pack] of other.#packs.entries()) {
      this.#packs.push(pack);
      this.#starts.push(this.#packedLength + (other.#starts[index] ?? 0));
    }
    this.#packedLength += other.#packedLength;
    this.#last = [...other.#last];
  }

  #pack(): void {
    this.#packs.push(this.#memory.keep(deflateRawSync(JSON.stringify(this.#last), deflating)));
    this.#starts.push(this.#packedLength);
    this.#packedLength += this.#last.length;
    this.#last = [];
  }

  at(index: number): T | undefined {
    if (index >= this.#packedLength) return this.#last[index - this.#packedLength];
    const pack = this.#packOf(index);
    return this.#valuesOf(pack)[index - (this.#starts[pack] ?? 0)];
  }

  /** The pack that an element is in: the last one that begins with it or before. */
  #packOf(index: number): number {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#starts[middle] ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let pack = 0; pack <= this.#packs.length; pack += 1) yield* this.#valuesOf(pack);
  }

  #valuesOf(index: number): T[] {
    const pack = this.#packs[index];
    if (!pack) return this.#last;
    if (this.#open?.index !== index)
      this.#open = { index, values: JSON.parse(inflateRawSync(pack).toString('utf8')) as T[] };
    return this.#open.values;
  }
}
