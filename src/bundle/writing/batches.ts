import { type FileMember, headerOf, type Member } from './layout.ts';
import { endBytes, paddingOf } from './tar-header.ts';
import type { Batch, FileHash, Step } from './volume-thread.ts';

/** Enough for a thread to be busy while the next batch is made, and few enough to be soon told of. */
const mostBytes = 64 * 1024 * 1024;
const mostLiteral = 256 * 1024;

/**
 * Memory that the thread sees as well, as what is copied for it stays for as long as its heap has room. Two pieces in turn:
 * one batch is made while the one before it runs.
 */
const makeArea = (bytes: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(bytes));

const padding = new Uint8Array(512);

/** Puts the members of a volume into batches for the thread that writes it. */
export class BatchBuilder {
  #area = makeArea(2 * mostLiteral);
  #other = makeArea(2 * mostLiteral);
  #literalBytes = 0;
  /** Literal bytes since the last step. */
  #pending = 0;
  #bytes = 0;
  #steps: Step[] = [];

  link(member: Member): void {
    this.#put(headerOf(member));
  }

  file(member: FileMember, from: string, hashes: FileHash[]): void {
    this.#put(headerOf(member));
    const { start, size } = member;
    this.#steps.push({ literal: this.#pending, range: { path: from, start, size, hashes } });
    this.#pending = 0;
    this.#bytes += size;
    this.#put(padding.subarray(0, paddingOf(size)));
  }

  end(): void {
    this.#put(Buffer.alloc(endBytes));
  }

  get isFull(): boolean {
    return this.#bytes >= mostBytes || this.#literalBytes >= mostLiteral;
  }

  /** What has been put since the last call. Its literal bytes are good until the next call but one has been made. */
  take(): Batch {
    const steps = this.#pending > 0 ? [...this.#steps, { literal: this.#pending }] : this.#steps;
    const batch = { literal: this.#area.subarray(0, this.#literalBytes), steps };
    [this.#area, this.#other] = [this.#other, this.#area];
    this.#literalBytes = 0;
    this.#pending = 0;
    this.#bytes = 0;
    this.#steps = [];
    return batch;
  }

  #put(bytes: Uint8Array): void {
    const end = this.#literalBytes + bytes.length;
    if (end > this.#area.length) {
      const larger = makeArea(2 * end);
      larger.set(this.#area.subarray(0, this.#literalBytes));
      this.#area = larger;
    }
    this.#area.set(bytes, this.#literalBytes);
    this.#literalBytes = end;
    this.#pending += bytes.length;
  }
}
