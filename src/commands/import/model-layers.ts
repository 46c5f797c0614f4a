import { createHash } from 'node:crypto';
import { endBytes, paddingOf, tarHeader } from '../../bundle/writing/tar-header.ts';
import type { Digest } from '../../core/digest.ts';
import type { Content } from '../../core/ports.ts';
import { Check, contentOf, expectationOf, joined, verified } from '../../core/stream.ts';

/** A file of a model, and its bytes. */
export interface ModelFileContent {
  path: string;
  size: number;
  digest: Digest;
  content: Content;
}

/** Below this a file shares a layer with others. */
const ownLayerBytes = 16 * 1024 * 1024;
/** File systems that are laid over each other take only so many: with an image's own layers on top, 127 at most. */
const maxLargeLayers = 96;

/** In the one order that does not depend on where they came from. */
export function byPath<T extends { path: string }>(files: readonly T[]): T[] {
  return [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * Which files lie in a layer together: all small ones in one, large ones each alone, in order of their paths. The same
 * files always have the same layers.
 */
export function planLayers<T extends { path: string; size: number }>(files: readonly T[]): T[][] {
  const sorted = byPath(files);
  const small = sorted.filter(({ size }) => size < ownLayerBytes);
  const large = sorted.filter(({ size }) => size >= ownLayerBytes);
  const together = Math.ceil(large.length / maxLargeLayers);
  const layers = small.length > 0 ? [small] : [];
  for (let start = 0; start < large.length; start += together) layers.push(large.slice(start, start + together));
  return layers;
}

function headerOf({ path, size }: ModelFileContent): Buffer {
  return tarHeader({ path: `models/${path}`, size });
}

/** The tar of a layer, made while it is read, each file held to its digest on the way. Reading throws as `layerDigest` does. */
export function checkedLayer(files: readonly ModelFileContent[]): Content {
  return layerContent(files.map((file) => ({ ...file, content: checkedFile(file) })));
}

/** A digest begins with the first byte: who opens it further on has the bytes before read once more. */
function checkedFile(file: ModelFileContent): Content {
  const expected = expectationOf(file, file.path);
  return {
    size: file.size,
    async *open(offset, signal) {
      let skip = offset;
      for await (const chunk of verified(file.content.open(0, signal), expected)) {
        if (skip < chunk.length) yield skip > 0 ? chunk.subarray(skip) : chunk;
        skip = Math.max(0, skip - chunk.length);
      }
    },
  };
}

/** The tar of a layer, made while it is read. */
export function layerContent(files: readonly ModelFileContent[]): Content {
  const members = files.flatMap((file) => [
    contentOf(headerOf(file)),
    file.content,
    contentOf(Buffer.alloc(paddingOf(file.size))),
  ]);
  return joined([...members, contentOf(Buffer.alloc(endBytes))]);
}

/**
 * What the digest of that tar is; each file is held to its own on the way.
 * @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH, and what the medium says
 */
export async function layerDigest(
  files: readonly ModelFileContent[],
  see: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Digest> {
  const hash = createHash('sha256');
  for (const file of files) {
    hash.update(headerOf(file));
    const check = new Check(expectationOf(file, file.path));
    for await (const chunk of file.content.open(0, signal)) {
      check.update(chunk);
      hash.update(chunk);
      see(chunk.length);
    }
    check.finish();
    hash.update(Buffer.alloc(paddingOf(file.size)));
  }
  hash.update(Buffer.alloc(endBytes));
  return `sha256:${hash.digest('hex')}`;
}
