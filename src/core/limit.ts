import pLimit from 'p-limit';

/** Runs work with at most `slots` at a time; a failed or aborted run lets queued work fall away. */
export interface Limit {
  <T>(work: () => Promise<T>): Promise<T>;
}

export function limitTo(slots: number): Limit {
  return pLimit(slots);
}

/** Up to this a body costs round trips rather than bandwidth. */
export const smallBody = 1024 * 1024;

/** Requests with a small body or none wait for the other side most of the time, so there may be more of them. */
export function requestsAtOnce(slots: number): number {
  return slots === 1 ? 1 : slots * 8;
}

/**
 * Applies `work` to each item with at most `slots` at a time. The first error stops what has not begun, waits for what
 * has, and is thrown.
 */
export async function forEachLimited<T>(
  items: readonly T[],
  slots: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  await forEachInLanes([{ items, slots }], work);
}

/** The same in two lanes: few large items, the largest first, and beside them many small ones. */
export async function forEachBySize<T extends { size: number }>(
  items: readonly T[],
  slots: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const large = items.filter(({ size }) => size > smallBody).sort((a, b) => b.size - a.size);
  const small = items.filter(({ size }) => size <= smallBody).sort((a, b) => b.size - a.size);
  const lanes = [
    { items: large, slots },
    { items: small, slots: requestsAtOnce(slots) },
  ];
  await forEachInLanes(lanes, work);
}

/** There may be very many items: each slot takes the next one when it is free, and none waits with a promise of its own. */
async function forEachInLanes<T>(
  lanes: readonly { items: readonly T[]; slots: number }[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  let failed: { error: unknown } | undefined;
  const takeFrom = async (queue: Iterable<T>): Promise<void> => {
    for (const item of queue) {
      if (failed) return;
      try {
        await work(item);
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  const takers = lanes.flatMap(({ items, slots }) => {
    const queue = items.values();
    return Array.from({ length: Math.min(slots, items.length) }, async () => takeFrom(queue));
  });
  await Promise.all(takers);
  if (failed) throw failed.error;
}

/** Lets the work of one key run once at a time; the map forgets a key when nobody waits for it. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<unknown>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const mine = before.catch(() => {}).then(work);
    const tail = mine.catch(() => {});
    this.#tails.set(key, tail);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}

/** A number of bytes that may be in memory at once; who asks for more than is free waits its turn. */
export class Budget {
  #free: number;
  readonly #limit: number;
  readonly #waiting: { bytes: number; go: () => void }[] = [];

  constructor(bytes: number) {
    this.#free = bytes;
    this.#limit = bytes;
  }

  /** What is larger than the whole budget takes all of it. */
  async take(bytes: number): Promise<void> {
    const wanted = Math.min(bytes, this.#limit);
    if (this.#waiting.length === 0 && this.#free >= wanted) {
      this.#free -= wanted;
      return;
    }
    await new Promise<void>((go) => this.#waiting.push({ bytes: wanted, go }));
  }

  give(bytes: number): void {
    this.#free += Math.min(bytes, this.#limit);
    for (let [first] = this.#waiting; first && first.bytes <= this.#free; [first] = this.#waiting) {
      this.#waiting.shift();
      this.#free -= first.bytes;
      first.go();
    }
  }
}
