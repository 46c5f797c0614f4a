import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { WritableLayout, WritableView } from '../../src/oci/layout/layout.ts';
import { digestOf } from '../support/digest.ts';
import { type CopyPair, copyTag, startPair } from '../support/copying.ts';
import { buildArtifact } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const repository = 'team/app';

/** Layers that take the path for large bodies, several at once and each in many chunks. */
const image = buildArtifact({
  seed: 'large',
  layers: [1, 2, 3, 4, 5, 6].map((index) => ({
    mediaType: 'application/x',
    bytes: seededBytes(`layer ${index}`, 5_000_000 + index),
  })),
});

/** A source that breaks the first connection of every layer, each at another place. */
async function startBreaking(): Promise<CopyPair> {
  const pair = await startPair();
  pair.source.put(repository, image, 'v1');
  const broken = new Set<string>();
  pair.source.server.faults = ({ path }) => {
    if (!path.includes('/blobs/') || broken.has(path)) return undefined;
    broken.add(path);
    return { kind: 'reset', after: 700_000 * broken.size };
  };
  return pair;
}

// Buffers are used again and again: one that is given back too early shows only in what has arrived.
it('leaves the bytes of many large layers as they are on their way into a registry', async () => {
  const pair = await startBreaking();
  try {
    await pair.copy('v1', { slots: 6 });

    for (const [digest, bytes] of image.blobs)
      expect(digestOf(pair.zone.blob(repository, digest) ?? Buffer.alloc(0)), digest).toBe(digestOf(bytes));
  } finally {
    await pair.close();
  }
});

it('leaves them as they are on their way into files', async () => {
  await using place = await temporaryDirectory();
  const pair = await startBreaking();
  try {
    const layout = new WritableView(await WritableLayout.open(place.path), 'any.example/team/app');
    await copyTag(pair.from, layout, 'v1', { slots: 6 });

    for (const digest of image.blobs.keys()) {
      const file = await readFile(join(place.path, 'blobs', digest.replace(':', '/')));
      expect(digestOf(file)).toBe(digest);
    }
  } finally {
    await pair.close();
  }
});
