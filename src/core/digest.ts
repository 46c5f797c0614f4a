import { createHash, type Hash } from 'node:crypto';

/** Algorithm and lower-case hex of some bytes: https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests */
export type Digest = `sha256:${string}` | `sha512:${string}`;

const pattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isDigest(text: string): text is Digest {
  return pattern.test(text);
}

export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

function digestAlgorithm(digest: Digest): 'sha256' | 'sha512' {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

export function sha256(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The digest of `bytes` by the algorithm of `like`, so that the two can be compared. */
export function digestLike(like: Digest, bytes: Uint8Array): Digest {
  const algorithm = digestAlgorithm(like);
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

/**
 * What a side declares about some bytes before they move: a plain hash of them (`sha256`, `sha512`), or git's blob hash,
 * which is sha1 over "blob SIZE NUL" and the bytes: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
 */
export interface Checksum {
  algorithm: 'sha256' | 'sha512' | 'git-sha1';
  hex: string;
}

export function checksumOf(digest: Digest): Checksum {
  return { algorithm: digestAlgorithm(digest), hex: digestHex(digest) };
}

/** A hash that is ready for the bytes of something `size` bytes long. */
export function openHash(algorithm: Checksum['algorithm'], size: number): Hash {
  return algorithm === 'git-sha1' ? createHash('sha1').update(`blob ${size}\0`) : createHash(algorithm);
}

/** The same as text, for threads, which are made of text. It takes `createHash` for given. */
export const openHashText = `function openHash(algorithm, size) {
  return algorithm === 'git-sha1' ? createHash('sha1').update('blob ' + size + '\\0') : createHash(algorithm);
}`;

export function formatChecksum(checksum: Checksum): string {
  return `${checksum.algorithm}:${checksum.hex}`;
}
