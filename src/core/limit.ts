import pLimit from 'p-limit';

/** Runs work with at most `slots` at a time; a failed or aborted run lets queued work fall away. */
export interface Limit {
  <T>(work: () => Promise<T>): Promise<T>;
}

/** A limit of its own: what goes through another one does not count. */
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
  items: Iterable<T>,
  slots: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  await forEachInLanes([{ items, slots }], work);
}

/** The same in two lanes: few large items, and beside them many small ones, the largest of each first. */
export async function forEachBySize<T extends { size: number }>(
  items: readonly T[],
  slots: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const sorted = [...items].sort((a, b) => b.size - a.size);
  await forEachOfMany(sorted, slots, work);
}

/**
 * The same of so many items that they are not all there at once: the small ones in their order.
 * @param items gone through twice
 */
export async function forEachOfMany<T extends { size: number }>(
  items: Iterable<T>,
  slots: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const isLarge = ({ size }: T): boolean => size > smallBody;
  const large = [...only(items, isLarge)].sort((a, b) => b.size - a.size);
  const small = only(items, (item) => !isLarge(item));
  const lanes = [
    { items: large, slots },
    { items: small, slots: requestsAtOnce(slots) },
  ];
  await forEachInLanes(lanes, work);
}

function* only<T>(items: Iterable<T>, isWanted: (item: T) => boolean): Generator<T> {
  for (const item of items) if (isWanted(item)) yield item;
}

/** There may be very many items: each slot takes the next one when it is free, and none waits with a promise of its own. */
async function forEachInLanes<T>(
  lanes: readonly { items: Iterable<T>; slots: number }[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  let failed: { error: unknown } | undefined;
  const takeFrom = async (queue: Iterator<T>): Promise<void> => {
    for (let next = queue.next(); next.done !== true && !failed; next = queue.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  const takers = lanes.flatMap(({ items, slots }) => {
    const queue = items[Symbol.iterator]();
    return Array.from({ length: slots }, async () => takeFrom(queue));
  });
  await Promise.all(takers);
  if (failed) throw failed.error;
}

/** Lets the work of one key run once at a time; the map forgets a key when nobody waits for it. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** @throws what `work` throws */
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

  /** Gives back what was taken, by the same number. */
  give(bytes: number): void {
    this.#free += Math.min(bytes, this.#limit);
    for (let [first] = this.#waiting; first && first.bytes <= this.#free; [first] = this.#waiting) {
      this.#waiting.shift();
      this.#free -= first.bytes;
      first.go();
    }
  }
}
