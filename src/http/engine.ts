import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 optimise later than by default. A command runs for seconds and waits for the network in most of them: the code
 * that V8 would optimise in the first of them, undici's parser of HTTP in WebAssembly above all, costs a tenth of a
 * second of processor time and gives back less. What runs for minutes is optimised all the same.
 * To be called once all that belongs to Node.js is loaded: its cache of compiled code is not used with other flags.
 */
export function optimiseLater(): void {
  setFlagsFromString('--wasm-tiering-budget=1000000000');
  setFlagsFromString('--interrupt-budget=600000');
}
