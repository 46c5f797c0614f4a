import { randomBytes } from 'node:crypto';

const firstSize = 64;

/** The hash of a text: two numbers, of 53 and 32 bits. */
type Hash = readonly [high: number, low: number];

/**
 * Numbers by texts, of which it keeps a hash of 85 bits only: 20 bytes, however long a text is. It may take one text for
 * another: of a million by chance once in 10^13 times, and it begins with random numbers, so that none can be prepared.
 * Whoever must be sure compares what the number leads to.
 */
export class TextMap {
  readonly #seeds: readonly [number, number, number];
  #size = 0;
  #highs = new Float64Array(firstSize);
  #lows = new Uint32Array(firstSize);
  /** None as long as all are 0: of a set nobody asks for them. */
  #values: Float64Array | undefined;

  constructor() {
    const bytes = randomBytes(12);
    this.#seeds = [bytes.readInt32LE(0), bytes.readInt32LE(4), bytes.readInt32LE(8)];
  }

  get(text: string): number | undefined {
    return this.#get(this.#hashes(text, '')[0]);
  }

  has(text: string): boolean {
    return this.get(text) !== undefined;
  }

  /** The first that it has of those beginnings of the text that stand before a separator, the shortest first. */
  beginningOf(text: string, separator: string): string | undefined {
    const [, ...hashes] = this.#hashes(text, separator);
    const found = hashes.findIndex((hash) => this.#get(hash) !== undefined);
    return found < 0
      ? undefined
      : text
          .split(separator)
          .slice(0, found + 1)
          .join(separator);
  }

  /** @returns whether it had that text before */
  set(text: string, value: number): boolean {
    if (this.#size * 8 > this.#highs.length * 7) this.#grow();
    const before = this.#size;
    this.#put(this.#hashes(text, '')[0], value);
    return this.#size === before;
  }

  #get(hash: Hash): number | undefined {
    const at = this.#slotOf(hash);
    return this.#highs[at] === 0 ? undefined : (this.#values?.[at] ?? 0);
  }

  #put(hash: Hash, value: number): void {
    const at = this.#slotOf(hash);
    if (this.#highs[at] === 0) this.#size += 1;
    this.#highs[at] = hash[0];
    this.#lows[at] = hash[1];
    if (value !== 0) this.#values ??= new Float64Array(this.#highs.length);
    if (this.#values) this.#values[at] = value;
  }

  /** Where it is, or where it would be put. */
  #slotOf([high, low]: Hash): number {
    const mask = this.#highs.length - 1;
    let at = low & mask;
    while (this.#highs[at] !== 0 && (this.#highs[at] !== high || this.#lows[at] !== low)) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const [highs, lows, values] = [this.#highs, this.#lows, this.#values];
    this.#highs = new Float64Array(2 * highs.length);
    this.#lows = new Uint32Array(2 * highs.length);
    this.#values = values && new Float64Array(2 * highs.length);
    this.#size = 0;
    for (const [index, high] of highs.entries())
      if (high !== 0) this.#put([high, lows[index] ?? 0], values?.[index] ?? 0);
  }

  /** Of the whole text, and then of each beginning before a separator. */
  #hashes(text: string, separator: string): [Hash, ...Hash[]] {
    const stop = separator === '' ? -1 : separator.charCodeAt(0);
    const beginnings: Hash[] = [];
    let [a, b, c] = this.#seeds;
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      if (code === stop) beginnings.push(mixed(a, b, c));
      a = Math.imul(a ^ code, 2654435761);
      b = Math.imul(b ^ code, 1597334677);
      c = Math.imul(c ^ code, 2246822507);
      a ^= b >>> 15;
      b ^= c >>> 13;
      c ^= a >>> 16;
    }
    return [mixed(a, b, c), ...beginnings];
  }
}

/** Never 0, which is an empty slot. */
function mixed(a: number, b: number, c: number): Hash {
  let first = Math.imul(a ^ (b >>> 16), 2246822507);
  first ^= Math.imul(b ^ (c >>> 13), 3266489909);
  let second = Math.imul(b ^ (first >>> 16), 2246822507);
  second ^= Math.imul(c ^ (a >>> 13), 3266489909);
  let third = Math.imul(c ^ (second >>> 16), 2246822507);
  third ^= first >>> 15;
  return [(second & 0x1fffff) * 0x1_0000_0000 + (first >>> 0) + 1, third >>> 0];
}
