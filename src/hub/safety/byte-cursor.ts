import type { ByteRanges } from './byte-ranges.ts';

/** Gives what stands at a position, as much as is handy; nothing where the bytes end. Positions never go down. */
export type WindowAt = (position: number) => Promise<Uint8Array>;

const firstWindow = 64 * 1024;
const largestWindow = 1024 * 1024;

/** Windows that grow while one follows on the other, and are small again after a jump. */
export function windowsOf(ranges: ByteRanges): WindowAt {
  let length = firstWindow;
  let next = 0;
  return async (position) => {
    length = position === next ? length : firstWindow;
    const window = await ranges.read(position, length);
    next = position + window.length;
    length = Math.min(length * 2, largestWindow);
    return window;
  };
}

/** Windows of a stream: what lies between two of them is read and dropped. */
export function windowsOfStream(stream: AsyncIterator<Uint8Array>): WindowAt {
  let start = 0;
  let chunk: Uint8Array = new Uint8Array();
  return async (position) => {
    while (start + chunk.length <= position) {
      start += chunk.length;
      const { value, done } = await stream.next();
      chunk = done === true ? new Uint8Array() : value;
      if (done === true) return chunk;
    }
    return chunk.subarray(position - start);
  };
}

/** Reads bytes one after the other, with no more than a window in memory. */
export class ByteCursor {
  readonly #windowAt: WindowAt;
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Position of the buffer's first byte. */
  #base: number;

  constructor(windowAt: WindowAt, position = 0) {
    this.#windowAt = windowAt;
    this.#base = position;
  }

  get position(): number {
    return this.#base + this.#at;
  }

  /** How many bytes can be taken without waiting. */
  get ahead(): number {
    return this.#buffer.length - this.#at;
  }

  /** Waits until `count` bytes can be taken; false when the bytes end before that. */
  async fill(count: number): Promise<boolean> {
    while (this.ahead < count) {
      const window = await this.#windowAt(this.#base + this.#buffer.length);
      if (window.length === 0) return false;
      this.#base += this.#at;
      const rest = this.#buffer.subarray(this.#at);
      this.#buffer = Buffer.concat([rest, window]);
      this.#at = 0;
    }
    return true;
  }

  /** The next bytes that are at hand, which stay where they are. */
  peek(bytes: number): Buffer {
    return this.#buffer.subarray(this.#at, this.#at + bytes);
  }

  byte(): number {
    this.#at += 1;
    return this.#buffer[this.#at - 1] ?? 0;
  }

  /** A number of 1, 2 or 4 bytes, least significant first. */
  unsigned(bytes: number): number {
    this.#at += bytes;
    return this.#buffer.readUIntLE(this.#at - bytes, bytes);
  }

  unsigned64(): bigint {
    this.#at += 8;
    return this.#buffer.readBigUInt64LE(this.#at - 8);
  }

  text(bytes: number, encoding: 'utf8' | 'latin1' = 'utf8'): string {
    this.#at += bytes;
    return this.#buffer.toString(encoding, this.#at - bytes, this.#at);
  }

  /** Goes on behind the next `count` bytes, which are not read when they are not there yet. */
  skip(count: number): void {
    if (count <= this.ahead) {
      this.#at += count;
      return;
    }
    this.#base = this.position + count;
    this.#buffer = Buffer.alloc(0);
    this.#at = 0;
  }

  /**
   * The bytes up to the next line feed, which is taken too; null for a line longer than `limit`, which is passed over.
   * Undefined when the bytes end before a line feed.
   */
  async line(limit: number, encoding: 'utf8' | 'latin1' = 'utf8'): Promise<string | null | undefined> {
    let long = false;
    for (let seen = 0; ;) {
      const end = this.#buffer.indexOf(0x0a, this.#at + seen);
      if (end >= 0) {
        const text = long || end - this.#at > limit ? null : this.text(end - this.#at, encoding);
        this.#at = end + 1;
        return text;
      }
      if (long || this.ahead > limit) {
        long = true;
        this.skip(this.ahead);
      }
      seen = this.ahead;
      if (!(await this.fill(seen + 1))) return undefined;
    }
  }
}
