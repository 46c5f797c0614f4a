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
