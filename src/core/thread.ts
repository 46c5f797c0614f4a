import { Worker } from 'node:worker_threads';
import { heapWasBegun } from './engine.ts';

/**
 * Starts a thread that runs a program given as plain text: one that was started from a file would need that file beside
 * the one-file tool.
 * @param data what the thread finds as `workerData`
 */
export function startThread(program: string, data?: unknown): Worker {
  const worker = new Worker(program, { eval: true, workerData: data });
  worker.once('online', heapWasBegun);
  return worker;
}
