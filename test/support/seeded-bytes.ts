import { createCipheriv, createHash } from 'node:crypto';

/** Whatever names a stream of pseudo-random bytes. */
export type Seed = string | number;

/** Incompressible bytes that depend on nothing but the seed. */
export function seededBytes(seed: Seed, length: number): Uint8Array {
  const key = createHash('sha256').update(String(seed)).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}
