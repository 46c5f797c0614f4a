import { expect, it } from 'vitest';
import { releaseChunk, takeChunk } from '../../../src/core/chunk-pool.ts';
import { checksumOf, sha256 } from '../../../src/core/digest.ts';
import type { Content } from '../../../src/core/ports.ts';
import { VerifiedReader } from '../../../src/oci/verified-reader.ts';
import { collect } from '../../support/contents.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

it('hands out parts of a chunk that stay as they are when one of them is given back', async () => {
  const bytes = seededBytes('lent', 100_000);
  const content: Content = {
    size: bytes.length,
    async *open(offset) {
      const chunk = takeChunk().subarray(0, bytes.length);
      chunk.set(bytes);
      yield await Promise.resolve(chunk.subarray(offset));
    },
  };
  const reader = new VerifiedReader(content, {
    size: bytes.length,
    checksum: checksumOf(sha256(bytes)),
    item: 'lent',
  });
  const parts: Buffer[] = [];
  for (const [from, to] of [
    [0, 40_000],
    [40_000, 100_000],
  ] as const)
    for await (const piece of reader.read(from, to)) {
      parts.push(Buffer.from(piece));
      releaseChunk(piece);
      takeChunk().fill(0);
    }
  expect(Buffer.concat(parts).equals(bytes)).toBe(true);
  expect(await collect(reader.read(0, 100_000))).toHaveLength(100_000);
});
