import { type Cipher, createCipheriv, createHash } from 'node:crypto';
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mebi } from './sizes.ts';

const zeros = Buffer.alloc(4 * mebi);

/** Writes incompressible bytes that depend on nothing but the seed into `directory`/HEX, and returns their sha256. */
export async function writeSeededBlob(directory: string, seed: string, size: number): Promise<string> {
  return (await writeBlob(directory, seededChunks(seed, size))).hex;
}

/** Writes bytes into `directory`/HEX. */
export async function writeBlob(
  directory: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<{ hex: string; size: number }> {
  await mkdir(directory, { recursive: true });
  const temporary = join(directory, 'unfinished');
  const hash = createHash('sha256');
  let size = 0;
  const file = await open(temporary, 'w', 0o644);
  try {
    for await (const chunk of chunks) {
      hash.update(chunk);
      size += chunk.length;
      await file.write(chunk);
    }
  } finally {
    await file.close();
  }
  const hex = hash.digest('hex');
  await rename(temporary, join(dirname(temporary), hex));
  return { hex, size };
}

/** The same bytes as `seededBytes` of the tests makes, without holding them all. */
export function* seededChunks(seed: string, size: number): Generator<Buffer> {
  const cipher: Cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16));
  for (let position = 0; position < size; position += zeros.length) {
    yield cipher.update(zeros.subarray(0, Math.min(zeros.length, size - position)));
  }
}
