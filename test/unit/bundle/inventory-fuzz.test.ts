import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BundleBlob, type Inventory, inventorySchemaId } from '../../../src/bundle/records/inventory.ts';
import { parseInventory } from '../../../src/bundle/records/inventory-check.ts';
import { formatInventory } from '../../../src/bundle/records/inventory-text.ts';
import { sha256 } from '../../../src/core/digest.ts';
import { changed, jsonChange } from '../../support/hostile-json.ts';
import { expectPlainPrototype, expectTame } from '../../support/tame.ts';

/** Whatever an inventory says, it is refused with an error of ours, or all that an importer relies on holds. */

const commit = 'a'.repeat(40);
const base = 'hub/models--org--name';
const blob = (path: string, text: string, offset: number): BundleBlob => {
  const size = text.length;
  return { path, digest: sha256(text), size, parts: [{ volume: 1, offset, size }] };
};
const file = { digest: sha256('weights'), size: 7 };
const valid: Inventory = {
  schema: inventorySchemaId,
  name: 'b',
  tool: 'x',
  base: { name: 'a', digest: sha256('base'), held: [{ digest: sha256('held'), size: 4, key: 'models--o--n/x' }] },
  items: [
    {
      kind: 'model',
      repo: 'org/name',
      commit,
      refs: ['main'],
      files: [{ path: 'w', ...file }],
      tree: { digest: sha256('tree'), size: 4 },
    },
    {
      kind: 'image',
      reference: 'r.example/a:t',
      root: { mediaType: 'm', digest: sha256('image'), size: 5 },
      digests: [sha256('image'), sha256('held')],
    },
  ],
  blobs: [
    blob(`${base}/blobs/w`, 'weights', 512),
    blob(`${base}/trees/${commit}.json`, 'tree', 1536),
    blob('oci/blobs/sha256/i', 'image', 2560),
  ],
  links: [{ path: `${base}/snapshots/${commit}/w`, target: '../../blobs/w', volume: 1, offset: 3072 }],
  volumes: [{ name: 'b.0001.tar', size: 5120, digest: sha256('v') }],
};

const isPlain = (path: string): boolean =>
  path !== '' && !path.includes('\0') && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');

/** What an importer does not look at again. */
function expectSound({ blobs, links, volumes, items, base: from }: Inventory): void {
  const folded = [...blobs, ...links].map(({ path }) => path.normalize('NFC').toLowerCase());
  expect(new Set(folded).size).toBe(folded.length);
  expect([...blobs, ...links].filter(({ path }) => !isPlain(path))).toEqual([]);
  for (const { size, parts } of blobs) {
    expect(parts.reduce((sum, part) => sum + part.size, 0)).toBe(size);
    for (const { volume, offset, size: length } of parts) {
      expect(offset).toBeGreaterThanOrEqual(512);
      expect(offset + length).toBeLessThanOrEqual(volumes[volume - 1]?.size ?? -1);
    }
  }
  expect(volumes.filter(({ name }) => !/^[A-Za-z0-9][A-Za-z0-9._-]*\.tar$/.test(name))).toEqual([]);
  const held = new Set([...blobs, ...(from?.held ?? [])].map(({ digest }) => digest));
  for (const item of items) {
    const digests = item.kind === 'image' ? item.digests : [...item.files, item.tree].map(({ digest }) => digest);
    expect(digests.filter((digest) => !held.has(digest))).toEqual([]);
    if (item.kind === 'model') expect(item.files.filter(({ path }) => !isPlain(path))).toEqual([]);
  }
}

/** @returns whether the document was taken */
function parseTamely(bytes: Uint8Array): boolean {
  let inventory: Inventory;
  try {
    inventory = parseInventory([bytes]);
  } catch (error) {
    expectTame(error, ['E_CORRUPT']);
    return false;
  }
  expectPlainPrototype();
  expectSound(inventory);
  return true;
}

it('what is changed in the tests below is a sound inventory', () => {
  expect(parseTamely(Buffer.from(formatInventory(valid)))).toBe(true);
});

describe('any inventory', () => {
  it('with values of any kind anywhere is refused, or everything that is relied on holds', () => {
    const taken = { yes: 0, no: 0 };
    fc.assert(
      fc.property(fc.array(jsonChange, { minLength: 1, maxLength: 3 }), (changes) => {
        taken[parseTamely(Buffer.from(JSON.stringify(changed(valid, changes)))) ? 'yes' : 'no'] += 1;
      }),
      { seed: 9, numRuns: 700, interruptAfterTimeLimit: 10_000 },
    );
    // Both must come up, or the test says nothing.
    expect([taken.yes > 20, taken.no > 200]).toEqual([true, true]);
  });

  it('that ends early is refused at every byte', () => {
    const text = Buffer.from(formatInventory(valid));
    for (let end = 0; end < text.length - 2; end += 1) expect(parseTamely(text.subarray(0, end))).toBe(false);
  });

  it('with other bytes in it is refused, or everything that is relied on holds', () => {
    const text = Buffer.from(formatInventory(valid));
    let refused = 0;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(text.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }), (bytes) => {
        const copy = Buffer.from(text);
        for (const [at, byte] of bytes) copy[at] = byte;
        refused += parseTamely(copy) ? 0 : 1;
      }),
      { seed: 10, numRuns: 300, interruptAfterTimeLimit: 10_000 },
    );
    expect(refused).toBeGreaterThan(50);
  });
});

describe('a bomb', () => {
  const text = JSON.stringify(valid);
  const within = (key: string, value: string): string => text.replace(`"${key}":`, `"${key}":${value},"was":`);
  const deep = 200_000;
  const strangers = Array.from({ length: 100_000 }, (_, index) => `"${index}":{},`).join('');
  const deepPaths = (count: number, folders: number): unknown[] =>
    Array.from({ length: count }, (_, index) => blob(`${'a/'.repeat(folders)}${index}`, '', 512 * (index + 1)));

  it.each([
    ['arrays without end for the items', within('items', '['.repeat(deep) + ']'.repeat(deep))],
    ['objects without end for a path', within('path', '{"a":'.repeat(deep) + '1' + '}'.repeat(deep))],
    ['a number beyond all numbers', within('offset', '1e999')],
    ['a number of a million digits', within('offset', '9'.repeat(1_000_000))],
    ['a path of a million folders', within('path', `"${'a/'.repeat(1_000_000)}x"`)],
    ['hundreds of paths of two thousand folders', within('blobs', JSON.stringify(deepPaths(300, 2000)))],
    [
      'arrays without end where nothing is looked for',
      text.replace('{', `{"unknown":${'['.repeat(deep) + ']'.repeat(deep)},`),
    ],
    ['a key that is repeated a hundred thousand times', `{${'"name":"a",'.repeat(100_000)}${text.slice(1)}`],
    ['a name of ten million letters', within('name', `"${'a'.repeat(10_000_000)}"`)],
  ])('of %s is refused', (_, bomb) => {
    expect(parseTamely(Buffer.from(bomb))).toBe(false);
  });

  it.each([
    ['of a hundred thousand keys that nobody knows', text.replace('{', `{${strangers}`)],
    ['of a prototype', text.replace('{', '{"__proto__":{"blobs":[]},"constructor":{"prototype":{"x":1}},')],
  ])('%s changes nothing', (_, bomb) => {
    expect(parseTamely(Buffer.from(bomb))).toBe(true);
  });
});
