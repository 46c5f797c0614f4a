import { expect, it } from 'vitest';
import { chunkBytes, releaseChunk, takeChunk } from '../../../src/core/chunk-pool.ts';

it('gives a released buffer out again, whole', () => {
  const chunk = takeChunk();
  chunk[0] = 7;
  releaseChunk(chunk.subarray(100, 200));

  const again = takeChunk();

  expect(again.buffer).toBe(chunk.buffer);
  expect(again.length).toBe(chunkBytes);
});

it('keeps what nobody has released from being given out', () => {
  const taken = Array.from({ length: 8 }, () => takeChunk().buffer);

  expect(new Set(taken).size).toBe(8);
});

it('gives a buffer that was released twice to one only', () => {
  const chunk = takeChunk();
  releaseChunk(chunk);
  releaseChunk(chunk);

  expect(takeChunk().buffer).not.toBe(takeChunk().buffer);
});

it('takes no buffer that is not its own', () => {
  const foreign = Buffer.allocUnsafeSlow(chunkBytes);
  releaseChunk(foreign);

  expect(takeChunk().buffer).not.toBe(foreign.buffer);
});
