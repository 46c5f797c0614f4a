import type { Hash } from 'node:crypto';
import { openHash } from '../core/digest.ts';
import type { Expectation } from '../core/stream.ts';
import { TailHash } from './tail-hash.ts';

/**
 * The hash of a file that arrives in ranges: of the bytes as they pass by, which costs the least, as long as they come in
 * order; of what is read back from the file, in a thread behind the place up to which it is whole, from then on.
 */
export class RangeHash implements AsyncDisposable {
  readonly #path: string;
  readonly #expected: Expectation;
  #passing: Hash | undefined;
  #tail: TailHash | undefined;

  /** @param path of a file that exists and has more than no bytes to come */
  constructor(path: string, expected: Expectation) {
    this.#path = path;
    this.#expected = expected;
    this.#passing = openHash(expected.checksum.algorithm, expected.size);
  }

  /** The next bytes; those that came after {@link readBack} are found in the file. */
  see(chunk: Uint8Array): void {
    this.#passing?.update(chunk);
  }

  /** Bytes no longer come in order. */
  readBack(): void {
    const { checksum, size } = this.#expected;
    this.#passing = undefined;
    this.#tail ??= new TailHash(this.#path, checksum.algorithm, size);
  }

  /** The bytes before `end` are written; nothing will change them. */
  advance(end: number): void {
    this.#tail?.advance(end);
  }

  /** The hash in hex, once everything is written. */
  async finish(): Promise<string> {
    return this.#passing?.digest('hex') ?? this.#tail?.finish() ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tail?.[Symbol.asyncDispose]();
  }
}
