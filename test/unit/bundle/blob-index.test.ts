import { expect, it } from 'vitest';
import { BlobIndex } from '../../../src/bundle/lists/blob-index.ts';
import type { BundleBlob } from '../../../src/bundle/records/inventory.ts';
import { packed } from '../../../src/bundle/lists/long-list.ts';
import { sha256 } from '../../../src/core/digest.ts';

/** Every two files have the same bytes. */
const blobs = Array.from({ length: 200 }, (_, index): BundleBlob => {
  const digest = sha256(`${index >> 1}`);
  return {
    path: `hub/${index}`,
    digest,
    size: 1,
    parts: [{ volume: 1 + (index % 2), offset: 512 + 1024 * index, size: 1 }],
  };
});
const list = packed(blobs, (blob) => blob);

it('finds each file by its path, and one of those with a digest', () => {
  const index = new BlobIndex(list);

  expect(blobs.map(({ path }) => index.byPath(path))).toEqual(blobs);
  expect(blobs.map(({ digest }) => index.byDigest(digest)?.digest)).toEqual(blobs.map(({ digest }) => digest));
  expect([index.byPath('hub/200'), index.byPath(''), index.byDigest(sha256('200'))]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

it('prefers of files with the same digest one that is here', () => {
  for (const here of [1, 2]) {
    const index = new BlobIndex(list, ({ parts }) => parts[0]?.volume === here);
    expect(new Set(blobs.map(({ digest }) => index.byDigest(digest)?.parts[0]?.volume))).toEqual(new Set([here]));
  }
});

it('makes of many digests what each one leads to, in their order', () => {
  const index = new BlobIndex(list);
  const wanted = [...blobs.map(({ digest }) => digest).toReversed(), sha256('unknown'), sha256('3')];

  expect(index.eachByDigest(wanted, ({ digest }) => digest)).toEqual([...wanted.slice(0, -2), undefined, sha256('3')]);
});
