import { versions } from 'node:process';
import { setFlagsFromString } from 'node:v8';

// What is asked of V8: https://nodejs.org/docs/latest-v20.x/api/v8.html#v8setflagsfromstringflags

/**
 * Has the V8 of Node.js 20 optimise later than by default, about as late as that of Node.js 22 does. A command runs for
 * seconds and waits for the network in most of them: the code that V8 would optimise in the first of them, undici's
 * parser of HTTP in WebAssembly above all, costs a tenth of a second of processor time and gives back less. What runs for
 * minutes is optimised all the same. Later versions know other flags, and would complain of these.
 *
 * To be called once most of Node.js is loaded: its cache of compiled code is not used with other flags. So a command that
 * opens no connection, and would start threads instead, goes on without.
 */
export function optimiseLater(): void {
  if (!versions.node.startsWith('20.')) return;
  setFlagsFromString('--wasm-tiering-budget=1000000000');
  setFlagsFromString('--interrupt-budget=600000');
}

let isHeapKeptSmall = false;

/**
 * Lets the heap grow by a third before what nobody uses is collected, where V8 would let it grow fourfold, and the part of
 * it for what is new not at all, which would be to 32 MiB: for a command that takes a little memory for each of very many
 * files, and leaves much of it behind at once.
 *
 * Costs each thread that is started later 40 ms, see `optimiseLater`.
 */
export function keepHeapSmall(): void {
  isHeapKeptSmall = true;
  setFlagsFromString('--heap-growing-percent=33');
  setFlagsFromString('--semi-space-growth-factor=1');
}

/** To be called when a thread has a heap of its own: V8 takes a growth of 1 for a mistake whenever it makes one, and sets 2. */
export function heapWasBegun(): void {
  if (isHeapKeptSmall) keepHeapSmall();
}
