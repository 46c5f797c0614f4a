import { describe, expect, it } from 'vitest';
import {
  type BundleBlob,
  type BundleLink,
  type ImageItem,
  type Inventory,
  inventorySchemaId,
  type ModelFile,
  type ModelItem,
} from '../../../src/bundle/records/inventory.ts';
import { parseInventory } from '../../../src/bundle/records/inventory-check.ts';
import { formatInventory, inventoryChunks } from '../../../src/bundle/records/inventory-text.ts';
import { type Digest, sha256 } from '../../../src/core/digest.ts';
import { codeOfCall } from '../../support/failures.ts';

const commit = 'a'.repeat(40);
const base = `hub/models--org--name`;
const weights = { digest: sha256('weights'), size: 1000 };
const tree = { digest: sha256('tree'), size: 20 };
const large = { digest: sha256('large'), size: 3000 };

type WithFiles = Omit<ModelItem, 'files'> & { files: ModelFile[] };

/** One whose lists can be changed. */
interface Sample extends Inventory {
  items: (WithFiles | ImageItem)[];
  blobs: BundleBlob[];
  links: BundleLink[];
}

/** Two volumes: weights, a link to them and the tree in the first; a file in two parts over both. */
function sample(): Sample {
  return {
    schema: inventorySchemaId,
    name: 'site-a',
    tool: 'sie-mirror/0',
    items: [
      {
        kind: 'model',
        repo: 'org/name',
        commit,
        refs: ['main', 'refs/pr/1'],
        files: [{ path: 'model.safetensors', ...weights }],
        tree,
      },
      {
        kind: 'image',
        reference: 'r.example/a:t',
        root: { mediaType: 'application/vnd.oci.image.index.v1+json', ...large },
        digests: [large.digest],
      },
    ],
    blobs: [
      { path: `${base}/blobs/w`, ...weights, parts: [{ volume: 1, offset: 512, size: 1000 }] },
      { path: `${base}/trees/${commit}.json`, ...tree, parts: [{ volume: 1, offset: 2048, size: 20 }] },
      {
        path: 'oci/blobs/sha256/l',
        ...large,
        parts: [
          { volume: 1, offset: 3584, size: 1024, digest: sha256('l1') },
          { volume: 2, offset: 512, size: 1976, digest: sha256('l2') },
        ],
      },
    ],
    links: [
      { path: `${base}/snapshots/${commit}/model.safetensors`, target: '../../blobs/w', volume: 1, offset: 2560 },
    ],
    volumes: [
      { name: 'site-a.0001.tar', size: 5632, digest: sha256('v1') },
      { name: 'site-a.0002.tar', size: 3584, digest: sha256('v2') },
    ],
  };
}

const parse = (inventory: unknown): Inventory => parseInventory([Buffer.from(JSON.stringify(inventory))]);

/** The code with which a changed inventory is refused. */
function refusalOf(change: (inventory: Sample) => unknown): string {
  const inventory = sample();
  change(inventory);
  return codeOfCall(() => parse(inventory));
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new Error(`there is no item ${index}`);
  return item;
}

const blob = (inventory: Sample, index: number): BundleBlob => at(inventory.blobs, index);
const link = (inventory: Sample): BundleLink => at(inventory.links, 0);
const model = (inventory: Sample): WithFiles => {
  const item = at(inventory.items, 0);
  if (item.kind !== 'model') throw new Error('no model');
  return item;
};

it('reads what it wrote', () => {
  expect(JSON.parse(formatInventory(parseInventory(inventoryChunks(sample()))))).toEqual(sample());
});

it('takes empty files beside each other', () => {
  const inventory = sample();
  const empty = { digest: sha256(''), size: 0 };
  inventory.blobs.push({ path: 'a', ...empty, parts: [{ volume: 2, offset: 3072, size: 0 }] });
  inventory.volumes.push({ name: 'site-a.0003.tar', size: 2048, digest: sha256('v3') });
  inventory.blobs.push({ path: 'b', ...empty, parts: [{ volume: 3, offset: 512, size: 0 }] });
  inventory.blobs.push({ path: 'c', ...empty, parts: [{ volume: 3, offset: 1024, size: 0 }] });

  expect(parse(inventory).blobs).toHaveLength(6);
});

const hostilePaths = [
  '',
  '..',
  '../x',
  'a/../../x',
  'a/..',
  '/etc/passwd',
  '//x',
  './a',
  'a//b',
  'a/',
  'a\\b',
  '..\\..\\x',
  'C:/x',
  'a\u0000b',
  'a\nb',
  '\u001b]0;x\u0007',
  'x'.repeat(256),
];

describe('paths', () => {
  it.each(hostilePaths)('refuses a file at %j', (path) => {
    expect(refusalOf((inventory) => (blob(inventory, 0).path = path))).toBe('E_CORRUPT');
  });

  it.each(hostilePaths)('refuses a link at %j', (path) => {
    expect(refusalOf((inventory) => (link(inventory).path = path))).toBe('E_CORRUPT');
  });

  it.each(hostilePaths)('refuses a file of a model at %j', (path) => {
    expect(refusalOf((inventory) => (at(model(inventory).files, 0).path = path))).toBe('E_CORRUPT');
  });

  it.each(hostilePaths)('refuses a ref named %j', (name) => {
    expect(refusalOf((inventory) => (model(inventory).refs = [name]))).toBe('E_CORRUPT');
  });

  it.each<[string, string, string]>([
    ['twice the same', 'a/b', 'a/b'],
    ['the same but for case', 'a/B', 'a/b'],
    ['the same but for case beyond ASCII', 'a/Ä', 'a/ä'],
    ['the same but for normal form', 'a/\u00e4', 'a/a\u0308'],
    ['a file below a file', 'a/b', 'a/b/c'],
    ['a file below a file but for case', 'a/B', 'a/b/c'],
  ])('refuses %s', (_, first, second) => {
    const change = (inventory: Sample): void => {
      blob(inventory, 0).path = first;
      blob(inventory, 1).path = second;
    };
    expect(refusalOf(change)).toBe('E_CORRUPT');
  });

  it('refuses a link where a file is', () => {
    expect(refusalOf((inventory) => (link(inventory).path = blob(inventory, 0).path.toUpperCase()))).toBe('E_CORRUPT');
  });

  it('refuses a file that goes through a link', () => {
    expect(refusalOf((inventory) => (blob(inventory, 0).path = `${link(inventory).path}/x`))).toBe('E_CORRUPT');
    expect(refusalOf((inventory) => (blob(inventory, 0).path = `${link(inventory).path.toUpperCase()}/x`))).toBe(
      'E_CORRUPT',
    );
  });

  it.each<[string, string, string]>([
    ['twice the same', 'a', 'a'],
    ['the same but for case', 'a', 'A'],
    ['one below the other', 'a', 'a/b'],
  ])('refuses files of a model that are %s', (_, first, second) => {
    const files = [first, second].map((path) => ({ path, ...weights }));
    expect(refusalOf((inventory) => (model(inventory).files = files))).toBe('E_CORRUPT');
  });
});

describe('links', () => {
  it.each([
    '',
    '/etc/passwd',
    '../../../../../etc/passwd',
    '../../../../oci/blobs/x',
    '../../..',
    '../../../..',
    'x/../../../blobs/w',
    '../../blobs/w\u0000',
    '../../blobs/\u001b[2J',
    '..\\..\\blobs\\w',
    `../../blobs/${'x'.repeat(256)}`,
  ])('refuses a link to %j', (target) => {
    expect(refusalOf((inventory) => (link(inventory).target = target))).toBe('E_CORRUPT');
  });

  it('refuses a link that leads through another link', () => {
    const change = (inventory: Sample): void => {
      inventory.links.push({
        path: 'hub/through',
        target: `${link(inventory).path.slice(4)}/x`,
        volume: 2,
        offset: 2560,
      });
    };
    expect(refusalOf(change)).toBe('E_CORRUPT');
  });

  it('takes a link to a link', () => {
    const inventory = sample();
    inventory.links.push({ path: 'hub/again', target: link(inventory).path.slice(4), volume: 2, offset: 2560 });

    expect(parse(inventory).links).toHaveLength(2);
  });
});

describe('places', () => {
  const part = (inventory: Sample, index: number): BundleBlob['parts'][number] => at(blob(inventory, index).parts, 0);

  it.each<[string, (inventory: Sample) => unknown]>([
    ['a part in a volume that is not there', (inventory) => (part(inventory, 0).volume = 3)],
    ['a part in volume zero', (inventory) => (part(inventory, 0).volume = 0)],
    ['a part that begins beyond its volume', (inventory) => (part(inventory, 0).offset = 1_000_000)],
    ['a part that ends beyond its volume', (inventory) => (part(inventory, 0).offset = 5000)],
    ['a part that begins before its header could end', (inventory) => (part(inventory, 0).offset = 0)],
    ['a negative offset', (inventory) => (part(inventory, 0).offset = -512)],
    ['a fractional offset', (inventory) => (part(inventory, 0).offset = 512.5)],
    ['an offset beyond counting', (inventory) => (part(inventory, 0).offset = 2 ** 53)],
    ['a size beyond counting', (inventory) => (part(inventory, 0).size = 1e300)],
    ['a link in a volume that is not there', (inventory) => (link(inventory).volume = 3)],
    ['a link that ends beyond its volume', (inventory) => (link(inventory).offset = 5600)],
    ['parts that add up to less', (inventory) => (blob(inventory, 0).size += 1)],
    ['parts that add up to more', (inventory) => (blob(inventory, 0).size -= 1)],
    ['no parts at all', (inventory) => (blob(inventory, 0).parts = [])],
    ['a part of several without a digest', (inventory) => delete part(inventory, 2).digest],
    ['two files in one place', (inventory) => (part(inventory, 1).offset = 512)],
    ['two files that overlap by one byte', (inventory) => (part(inventory, 1).offset = 512 + 1000 - 1)],
    ['a file over the header of another', (inventory) => (part(inventory, 1).offset = 1600)],
    ['a file over a link', (inventory) => (link(inventory).offset = 1024)],
    [
      'two links in one place',
      (inventory) => inventory.links.push({ ...link(inventory), path: 'hub/other', target: 'x' }),
    ],
    [
      'a part twice',
      (inventory) => (blob(inventory, 2).parts = [part(inventory, 2), part(inventory, 2), part(inventory, 2)]),
    ],
    ['a volume twice', (inventory) => (at(inventory.volumes, 1).name = at(inventory.volumes, 0).name)],
    ['a volume twice but for case', (inventory) => (at(inventory.volumes, 1).name = 'SITE-A.0001.tar')],
    ['a volume that climbs', (inventory) => (at(inventory.volumes, 0).name = '../x.tar')],
    ['a volume that is hidden', (inventory) => (at(inventory.volumes, 0).name = '.tar')],
  ])('refuses %s', (_, change) => {
    expect(refusalOf(change)).toBe('E_CORRUPT');
  });

  it('refuses empty files in one place', () => {
    const change = (inventory: Sample): void => {
      for (const path of ['a', 'b'])
        inventory.blobs.push({ path, digest: sha256(''), size: 0, parts: [{ volume: 2, offset: 3072, size: 0 }] });
    };
    expect(refusalOf(change)).toBe('E_CORRUPT');
  });
});

const sha512: Digest = `sha512:${'0'.repeat(128)}` as Digest;

function image(inventory: Sample): ImageItem {
  return at(inventory.items, 1) as ImageItem;
}

function withHeld(inventory: Sample, digest: Digest, where: { key?: string }): void {
  inventory.base = { name: 'b', digest: sha256('b'), held: [{ digest, size: 1, ...where }] };
}

describe('items', () => {
  it('may be of what a base holds', () => {
    const inventory = sample();
    withHeld(inventory, sha256('held'), { key: 'a' });
    image(inventory).digests.push(sha256('held'));
    expect(parse(inventory).base?.held).toHaveLength(1);
  });

  it.each<[string, (inventory: Sample) => unknown]>([
    ['a model whose file is not there', (inventory) => (at(model(inventory).files, 0).digest = sha256('other'))],
    ['a model whose file has another size', (inventory) => (at(model(inventory).files, 0).size = 999)],
    ['a model whose list of files is not there', (inventory) => (model(inventory).tree.digest = sha256('other'))],
    ['a repo that climbs', (inventory) => (model(inventory).repo = '../../etc')],
    ['a repo of three parts', (inventory) => (model(inventory).repo = 'a/b/c')],
    ['a commit that is a branch', (inventory) => (model(inventory).commit = 'main')],
    ['a commit that climbs', (inventory) => (model(inventory).commit = `../${'a'.repeat(37)}`)],
    ['an image whose digest is none', (inventory) => Object.assign(at(inventory.items, 1), { digests: ['sha256:x'] })],
    ['an image whose root is none of its digests', (inventory) => (image(inventory).root.digest = weights.digest)],
    ['content of the base by another algorithm', (inventory) => withHeld(inventory, sha512, { key: 'a' })],
    ['content of the base that is nowhere', (inventory) => withHeld(inventory, sha256('held'), {})],
    ['a name that is too long for the name of a bundle', (inventory) => (inventory.name = 'a'.repeat(64))],
    ['an item of an unknown kind', (inventory) => Object.assign(at(inventory.items, 1), { kind: 'virus' })],
    ['a name with a slash', (inventory) => (inventory.name = 'a/b')],
    ['a name that climbs', (inventory) => (inventory.name = '..')],
    ['another schema', (inventory) => Object.assign(inventory, { schema: 'sie-mirror/inventory/v2' })],
  ])('refuses %s', (_, change) => {
    expect(refusalOf(change)).toBe('E_CORRUPT');
  });
});

describe('documents', () => {
  it.each(['', 'null', '[]', '{}', '"x"', '{"schema":', '\u0000', '[1e999]'])('refuses %j', (text) => {
    expect(codeOfCall(() => parseInventory([Buffer.from(text)]))).toBe('E_CORRUPT');
  });

  it('refuses a document that is nested without end', () => {
    expect(codeOfCall(() => parseInventory([Buffer.from('['.repeat(100_000))]))).toBe('E_CORRUPT');
  });

  it('lets no key reach a prototype, and takes a file that is called like one', () => {
    const inventory = sample();
    for (const [index, path] of ['__proto__', 'constructor', 'hub/__proto__'].entries())
      inventory.blobs.push({
        path,
        digest: sha256(''),
        size: 0,
        parts: [{ volume: 2, offset: 512 + 1976 + 72 + 512 * (index + 1), size: 0 }],
      });
    at(inventory.volumes, 1).size = 8192;
    const text = JSON.stringify(inventory).replace('{', '{"__proto__":{"polluted":true},');

    const parsed = parseInventory([Buffer.from(text)]);

    expect(parsed.blobs.map(({ path }) => path)).toContain('__proto__');
    expect('polluted' in parsed).toBe(false);
    expect('polluted' in {}).toBe(false);
  });
});

it('is written in pieces as JSON would write it at once', () => {
  const inventory = sample();
  const [first] = inventory.blobs;
  const blobs = Array.from({ length: 5000 }, (_, index) => ({ ...first, path: `hub/${index}\n"é` }));
  const long = { ...inventory, blobs } as Inventory;

  const chunks = [...inventoryChunks(long)];

  expect(Buffer.concat(chunks).toString('utf8')).toBe(`${JSON.stringify(long, undefined, 1)}\n`);
  expect(chunks.length).toBeGreaterThan(1);
  expect(formatInventory(inventory)).toBe(`${JSON.stringify(inventory, undefined, 1)}\n`);
});
