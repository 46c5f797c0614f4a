import type { Worker } from 'node:worker_threads';
import { type Checksum, openHashText } from '../core/digest.ts';
import { startThread } from '../core/thread.ts';

const workerSource = `
const { parentPort, workerData } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const { closeSync, openSync, readSync } = require('node:fs');
const { path, algorithm, size } = workerData;
${openHashText}
const hash = openHash(algorithm, size);
const buffer = Buffer.allocUnsafeSlow(256 * 1024);
const file = openSync(path, 'r');
let position = 0;
parentPort.on('message', (end) => {
  while (position < end) {
    const length = readSync(file, buffer, 0, Math.min(buffer.length, end - position), position);
    if (length === 0) throw new Error('the file ends early');
    hash.update(buffer.subarray(0, length));
    position += length;
  }
  if (position < size) return;
  closeSync(file);
  parentPort.postMessage(hash.digest('hex'));
});
`;

/** Hashes a file in a thread of its own while it is being written: behind the place up to which it is whole. */
export class TailHash implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #hex: Promise<string>;
  #end = 0;

  /** @param path of a file that exists and has more than no bytes to come */
  constructor(path: string, algorithm: Checksum['algorithm'], size: number) {
    this.#worker = startThread(workerSource, { path, algorithm, size });
    this.#hex = new Promise((resolve, reject) => {
      this.#worker.once('message', resolve);
      this.#worker.once('error', reject);
      this.#worker.once('exit', () => reject(new Error('hashing was stopped')));
    });
    // Told of when somebody asks for the result.
    this.#hex.catch(() => {});
  }

  /** The bytes before `end` are written; nothing will change them. */
  advance(end: number): void {
    if (end <= this.#end) return;
    this.#end = end;
    this.#worker.postMessage(end);
  }

  /** The hash in hex, once everything is written. */
  async finish(): Promise<string> {
    return this.#hex;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}
