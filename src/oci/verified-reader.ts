import type { Digest } from '../core/digest.ts';
import { type Announcement, Check } from '../core/stream.ts';
import type { Content } from '../core/ports.ts';

/** How far a stream goes between two places that it can be checked from again. */
const markBytes = 4 * 1024 * 1024;

/** A place that the content can be read from again, with the state of the hash there. */
interface Mark {
  offset: number;
  check: Check;
}

interface Stream {
  bytes: AsyncIterator<Uint8Array>;
  /** Of all bytes that have come in. */
  check: Check;
  /** Place of the next byte to hand out. */
  position: number;
  /** What came in and was not handed out yet. */
  pending: Uint8Array;
}

/**
 * Reads a content in pieces, one after the other and again from earlier places, and checks size and digest of the whole
 * all the same: the state of the hash is kept now and then, so what is read again is not read from the first byte.
 * Nothing that holds the last byte is handed out before the check has passed.
 */
export class VerifiedReader {
  readonly #content: Content;
  readonly #size: number;
  readonly #start: Mark;
  readonly #marks: Mark[];
  #stream: Stream | undefined;
  #inUse = false;
  #handedOut = 0;
  #broken: { error: unknown } | undefined;
  #digest: Digest | undefined;

  /** @param expected without a checksum the digest is found out */
  constructor(content: Content, expected: Announcement) {
    this.#content = content;
    this.#size = expected.size;
    this.#start = { offset: 0, check: new Check(expected) };
    this.#marks = [this.#start];
  }

  /** Up to which byte anything was handed out since {@link restart}. */
  get handedOut(): number {
    return this.#handedOut;
  }

  /** Of the whole, once all of it has come in. */
  get digest(): Digest | undefined {
    return this.#digest;
  }

  /** The receiver begins anew. */
  restart(): void {
    this.#handedOut = 0;
  }

  /** What the content failed with; whoever sends its bytes hears of it from the wrong side. */
  get broken(): { error: unknown } | undefined {
    return this.#broken;
  }

  /**
   * The bytes from `from` up to `to`. One at a time: a new reading ends the one before.
   * @throws E_SIZE_MISMATCH, E_DIGEST_MISMATCH
   */
  async *read(from: number, to: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const stream = await this.#streamAt(from, signal);
    this.#inUse = true;
    if (this.#size === 0) await this.#fill(stream);
    while (stream.position < to) {
      if (stream.pending.length === 0) await this.#fill(stream);
      const rest = stream.pending.subarray(to - stream.position);
      // Who has sent a chunk gives its buffer back, so a part of one must not share it with the rest.
      const piece = rest.length > 0 ? Buffer.from(stream.pending.subarray(0, -rest.length)) : stream.pending;
      stream.pending = rest;
      stream.position += piece.length;
      this.#handedOut = Math.max(this.#handedOut, stream.position);
      yield piece;
    }
    this.#inUse = false;
  }

  /** Lets the content go. */
  close(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    // Not waited for: it may hang in a read. Nor has a source that fails while it is left anything more to say.
    stream?.bytes.return?.().catch(() => {});
  }

  async #streamAt(from: number, signal: AbortSignal | undefined): Promise<Stream> {
    const open = this.#stream;
    if (open && !this.#inUse && open.position === from) return open;
    this.close();
    const mark = this.#marks.findLast(({ offset }) => offset <= from) ?? this.#start;
    const stream: Stream = {
      bytes: this.#content.open(mark.offset, signal)[Symbol.asyncIterator](),
      check: mark.check.copy(),
      position: mark.offset,
      pending: new Uint8Array(),
    };
    this.#stream = stream;
    while (stream.position < from) {
      if (stream.pending.length === 0) await this.#fill(stream);
      const skipped = Math.min(stream.pending.length, from - stream.position);
      stream.pending = stream.pending.subarray(skipped);
      stream.position += skipped;
    }
    return stream;
  }

  /** Lets the next bytes come in; with the last ones the whole is checked. */
  async #fill(stream: Stream): Promise<void> {
    try {
      let more = await this.#next(stream);
      if (!more || stream.check.seen === this.#size) {
        while (more) more = await this.#next(stream);
        const { algorithm, hex } = stream.check.finish();
        this.#digest = `${algorithm}:${hex}` as Digest;
      } else if (stream.check.seen - (this.#marks.at(-1)?.offset ?? 0) >= markBytes)
        this.#marks.push({ offset: stream.check.seen, check: stream.check.copy() });
    } catch (error) {
      if (this.#stream === stream) this.#broken = { error };
      throw error;
    }
  }

  /** @returns false at the end */
  async #next(stream: Stream): Promise<boolean> {
    const next = await stream.bytes.next();
    if (next.done) return false;
    stream.check.update(next.value);
    if (next.value.length > 0) stream.pending = next.value;
    return true;
  }
}
