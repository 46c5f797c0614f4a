import type { Command } from './measure.ts';

const thread = `
const { workerData } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const { closeSync, openSync, readSync } = require('node:fs');
const buffer = Buffer.allocUnsafeSlow(128 * 1024);
for (const path of workerData) {
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  for (let length; (length = readSync(file, buffer)) > 0; ) hash.update(buffer.subarray(0, length));
  hash.digest();
  closeSync(file);
}
`;

const program = `
const { Worker } = require('node:worker_threads');
const [threads, ...files] = process.argv.slice(1);
for (let index = 0; index < threads; index += 1)
  new Worker(${JSON.stringify(thread)}, { eval: true, workerData: files.filter((_, at) => at % threads === index) });
`;

/** The least that a program on this Node.js can do to hash files: read them, one thread a core, and nothing else. */
export function hashLimit(files: readonly string[], threads: number, cwd: string): Command {
  return { argv: [process.execPath, '-e', program, String(threads), ...files], cwd };
}
