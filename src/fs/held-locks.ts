import { join } from 'node:path';
import { lockForReading, type LockOwner, lockPlace } from './lock.ts';

/** The directories that a run keeps others out of, until it gives them back. */
export class HeldLocks {
  readonly #owner: LockOwner;
  readonly #locks = new Map<string, AsyncDisposable>();

  constructor(owner: LockOwner) {
    this.#owner = owner;
  }

  /** As `lockPlace`; what is held already stays so. @throws E_REFUSED */
  async take(directory: string, lockFile = lockFileOf(directory)): Promise<void> {
    if (this.#locks.has(lockFile)) return;
    this.#locks.set(lockFile, await lockPlace(lockFile, directory, this.#owner, { readers: true }));
  }

  /** As the function `lockForReading`; where this run writes itself, nothing is left to do. @throws E_REFUSED */
  async takeForReading(directory: string): Promise<void> {
    const lockFile = lockFileOf(directory);
    if (this.#locks.has(lockFile)) return;
    const held = await lockForReading(lockFile, directory, this.#owner);
    if (held) this.#locks.set(`reading ${this.#locks.size} ${directory}`, held);
  }

  async giveBack(): Promise<void> {
    // One that a lost medium holds cannot be removed: that must not hide why the run ended, and the next one takes it over.
    await Promise.allSettled([...this.#locks.values()].map(async (lock) => lock[Symbol.asyncDispose]()));
  }
}

function lockFileOf(directory: string): string {
  return join(directory, '.sie-mirror.lock');
}
