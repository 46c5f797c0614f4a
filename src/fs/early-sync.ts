import type { FileHandle } from 'node:fs/promises';

const everyBytes = 64 * 1024 * 1024;

/**
 * Has the system bring to the medium what is being written to a file, while that still goes on. Else it keeps
 * gigabytes in memory, and the medium only begins to work when everything has been written.
 */
export class EarlySync {
  readonly #file: FileHandle;
  #bytes = 0;
  #running: Promise<void> | undefined;
  #failed: { error: unknown } | undefined;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** So many bytes more have been handed to the system. */
  wrote(bytes: number): void {
    this.#bytes += bytes;
    if (this.#running || this.#failed || this.#bytes < everyBytes) return;
    this.#bytes = 0;
    // The system tells of an error once only, so it is kept.
    this.#running = this.#file
      .datasync()
      .catch((error: unknown) => void (this.#failed = { error }))
      .finally(() => void (this.#running = undefined));
  }

  /** Waits until nothing touches the file any more. */
  async settled(): Promise<void> {
    await this.#running;
  }

  /** Waits until everything is on the medium, of this sync and those before. @throws the system's error */
  async finish(): Promise<void> {
    await this.settled();
    if (this.#failed) throw this.#failed.error;
    await this.#file.sync();
  }
}
