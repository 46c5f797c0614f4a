import { releaseChunk } from '../core/chunk-pool.ts';
import { Budget } from '../core/limit.ts';

/** Buffers for the parts of all uploads that are on their way: bounded by bytes, and used again and again. */
export class PartBuffers {
  readonly #budget: Budget;
  readonly #spare: Buffer[] = [];

  /** @param budget shared with whatever else is held in memory */
  constructor(budget: Budget) {
    this.#budget = budget;
  }

  async take(size: number): Promise<Buffer> {
    await this.#budget.take(size);
    const spare = this.#spare.findIndex(({ length }) => length === size);
    return (spare < 0 ? undefined : this.#spare.splice(spare, 1)[0]) ?? Buffer.allocUnsafeSlow(size);
  }

  /** @param reuse false when something may still read it, such as a connection that was given up */
  give(buffer: Buffer, reuse: boolean): void {
    // Spare buffers of another size would add up.
    if (reuse && this.#spare.every(({ length }) => length === buffer.length)) this.#spare.push(buffer);
    this.#budget.give(buffer.length);
  }
}

/** A part of an object: the first `length` bytes of a buffer, which is the consumer's to give back. */
export interface FilledPart {
  buffer: Buffer;
  length: number;
}

/** Cuts a stream into parts of `size`, the last one shorter. @param see is told of each chunk, in order */
export async function* inParts(
  bytes: AsyncIterable<Uint8Array>,
  size: number,
  see: (chunk: Uint8Array) => void,
  buffers: PartBuffers,
): AsyncGenerator<FilledPart> {
  let part: FilledPart | undefined;
  try {
    for await (const chunk of bytes) {
      see(chunk);
      for (let rest = chunk; rest.length > 0;) {
        part ??= { buffer: await buffers.take(size), length: 0 };
        const taken = Math.min(rest.length, size - part.length);
        part.buffer.set(rest.subarray(0, taken), part.length);
        part.length += taken;
        rest = rest.subarray(taken);
        if (part.length < size) continue;
        const full = part;
        part = undefined;
        yield full;
      }
      releaseChunk(chunk);
    }
    const last = part;
    part = undefined;
    if (last) yield last;
  } finally {
    if (part) buffers.give(part.buffer, true);
  }
}
