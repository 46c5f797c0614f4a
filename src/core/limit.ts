import pLimit from 'p-limit';

/** Runs work with at most `slots` at a time; a failed or aborted run lets queued work fall away. */
export interface Limit {
  <T>(work: () => Promise<T>): Promise<T>;
}

export function limitTo(slots: number): Limit {
  return pLimit(slots);
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
  let failed: { error: unknown } | undefined;
  const limit = pLimit(slots);
  await Promise.all(
    items.map((item) =>
      limit(async () => {
        if (failed) return;
        try {
          await work(item);
        } catch (error) {
          failed ??= { error };
        }
      }),
    ),
  );
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
