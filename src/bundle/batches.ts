import { headerOf, type Member } from './layout.ts';
import { endBytes, paddingOf } from './tar-header.ts';
import type { Batch, FileHash, Step } from './volume-thread.ts';

export type FileMember = Extract<Member, { kind: 'file' }>;

/** Enough for a thread to be busy while the next batch is made, and few enough to be soon told of. */
const mostBytes = 64 * 1024 * 1024;
const mostLiteral = 256 * 1024;

/** Puts the members of a volume into batches for the thread that writes it. */
export class BatchBuilder {
  #literal: Buffer[] = [];
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
    this.#put(Buffer.alloc(paddingOf(size)));
  }

  end(): void {
    this.#put(Buffer.alloc(endBytes));
  }

  get isFull(): boolean {
    return this.#bytes >= mostBytes || this.#literalBytes >= mostLiteral;
  }

  /** What has been put since the last call. */
  take(): Batch {
    const steps = this.#pending > 0 ? [...this.#steps, { literal: this.#pending }] : this.#steps;
    const batch = { literal: Buffer.concat(this.#literal), steps };
    this.#literal = [];
    this.#literalBytes = 0;
    this.#pending = 0;
    this.#bytes = 0;
    this.#steps = [];
    return batch;
  }

  #put(bytes: Buffer): void {
    this.#literal.push(bytes);
    this.#literalBytes += bytes.length;
    this.#pending += bytes.length;
  }
}
