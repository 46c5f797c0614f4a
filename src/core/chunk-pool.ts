/**
 * Buffers for the chunks of large bodies, used again and again: with a fresh one for each chunk the same transfer takes
 * a quarter more processor time, and memory until the garbage collector comes by.
 *
 * A chunk is its receiver's to keep, as all chunks are. Whoever is the last to need it may release it, and only then
 * does its buffer come back: who forgets to makes work for the garbage collector, and nothing worse.
 */
export const chunkBytes = 1024 * 1024;

/** Enough for what a few bodies at once have on the way; a burst of many does not stay. */
const maxSpare = 16;

const spare: ArrayBufferLike[] = [];
const lent = new WeakSet<ArrayBufferLike>();

/** `chunkBytes` bytes of whatever was there before. A chunk is cut out of one such buffer, and one only. */
export function takeChunk(): Buffer {
  const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(chunkBytes).buffer;
  lent.add(buffer);
  return Buffer.from(buffer);
}

/** The last one to need a chunk is done with it; nothing happens to chunks that come from elsewhere. */
export function releaseChunk(chunk: Uint8Array): void {
  if (lent.delete(chunk.buffer) && spare.length < maxSpare) spare.push(chunk.buffer);
}
