import { createHash } from 'node:crypto';

/** Digest algorithms that the OCI specifications register. */
export type DigestAlgorithm = 'sha256' | 'sha512';

/** `<algorithm>:<hex>` of the bytes. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** The algorithm of a well-formed digest; undefined for anything else. */
export function digestAlgorithm(text: string): DigestAlgorithm | undefined {
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return 'sha256';
  if (/^sha512:[0-9a-f]{128}$/.test(text)) return 'sha512';
  return undefined;
}

/** Whether the bytes are what a well-formed digest says. */
export function digestMatches(bytes: Uint8Array, digest: string): boolean {
  const algorithm = digestAlgorithm(digest);
  return algorithm !== undefined && digestOf(bytes, algorithm) === digest;
}
