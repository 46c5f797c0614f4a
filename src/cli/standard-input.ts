import { addAbortSignal } from 'node:stream';
import { buffer } from 'node:stream/consumers';

/** All that another program writes to this one, when it is through. @param signal ends the wait for it */
export async function standardInput(signal: AbortSignal): Promise<Buffer> {
  return buffer(addAbortSignal(signal, process.stdin));
}
