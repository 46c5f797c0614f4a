import { expect, it } from 'vitest';
import type { WantedDigests } from '../../../src/bundle/lists/blob-index.ts';
import type { BundleBlob } from '../../../src/bundle/records/inventory.ts';
import { formatReceipt, startReceipt, writtenReceipt } from '../../../src/bundle/records/receipt.ts';
import { ObjectKeys } from '../../../src/commands/import/object-keys.ts';
import { type ModelSource, placeObjects } from '../../../src/commands/import/placed-object.ts';
import { sha256 } from '../../../src/core/digest.ts';
import { contentOf } from '../../../src/core/stream.ts';

const far = 2 ** 38;

const blobs: BundleBlob[] = [
  { path: 'first', digest: sha256('first'), size: 5, parts: [{ volume: 3, offset: 512, size: 5 }] },
  { path: 'far', digest: sha256('far'), size: 3, parts: [{ volume: 9999, offset: far - 1, size: 3 }] },
  { path: 'farther', digest: sha256('farther'), size: 7, parts: [{ volume: 1, offset: far, size: 7 }] },
  {
    path: 'split',
    digest: sha256('split'),
    size: 2,
    parts: [
      { volume: 1, offset: 0, size: 1 },
      { volume: 2, offset: 0, size: 1 },
    ],
  },
  { path: 'away', digest: sha256('away'), size: 4, parts: [{ volume: 7, offset: 0, size: 4 }] },
];

it('objects come from where their blobs lie, however far behind, in how many pieces, and on which medium', () => {
  const asked: BundleBlob['parts'][] = [];
  const source = {
    findEach: (digests: WantedDigests, make: (blob: BundleBlob) => unknown) =>
      Array.from({ length: digests.length }, (_, index) => {
        const blob = blobs.find((each) => each.digest === digests.at(index));
        return blob && make(blob);
      }),
    lacking: ({ path }: BundleBlob) => (path === 'away' ? ['v.0007.tar'] : []),
    content: ({ parts }: BundleBlob) => {
      asked.push(parts);
      return contentOf(Buffer.alloc(0));
    },
  } as unknown as ModelSource;
  const wanted = blobs.map(({ path, digest, size }) => ({ key: `m/${path}`, digest, size }));
  const held = { key: 'm/held', digest: sha256('held'), size: 4 };

  const objects = placeObjects([...wanted, held], source, new Map([[held.digest, 'old/held']]));

  expect(objects.map(({ key, digest, size }) => ({ key, digest, size }))).toEqual([...wanted, held]);
  const from = objects.map((object) => object.from);
  expect(asked).toEqual(expect.arrayContaining(blobs.slice(0, 4).map(({ parts }) => parts)));
  expect(from.slice(4)).toEqual([{ blob: blobs[4] }, { key: 'old/held' }]);
});

it('keys are had or not, and counted with their folders', () => {
  const keys = new ObjectKeys(['a/x', 'a/y', 'b/x', 'a/x', 'alone']);

  expect(['a/x', 'b/x', 'alone', 'a/z', 'a/', ''].map((key) => keys.has(key))).toEqual([
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
  expect(keys.looks).toEqual({ folders: 3, objects: 4 });
});

it('a receipt that is written in pieces is the one that is written at once', () => {
  const receipt = startReceipt({ name: 'b', inventory: sha256('') }, { models: 's3://x' });
  const objects = Array.from({ length: 9000 }, (_, index) => ({
    key: `größe/${index}`,
    digest: sha256(`${index}`),
    size: index,
  }));
  receipt.models.push({ repo: 'a/b', commit: 'c'.repeat(40), objects });
  const text = `${JSON.stringify(receipt, undefined, 1)}\n`;

  const written = writtenReceipt(receipt);

  expect([...written.chunks()].length).toBeGreaterThan(1);
  expect(Buffer.concat([...written.chunks()]).toString()).toBe(text);
  expect(formatReceipt(receipt)).toBe(text);
  expect(written).toMatchObject({ digest: sha256(text), size: Buffer.byteLength(text) });
});
