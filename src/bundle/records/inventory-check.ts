import { type Digest, isDigest } from '../../core/digest.ts';
import { checkRelativePath, linkTarget } from '../../core/path.ts';
import { printable } from '../../core/text.ts';
import { validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import {
  type BundleBlob,
  bundleFiles,
  type BundleItem,
  type BundleLink,
  corruptInventory as corrupt,
  type Inventory,
  inventorySchemaId,
  type ModelFile,
} from './inventory.ts';
import { parseLongLists } from './inventory-parse.ts';
import { type LongList, PackedList } from '../lists/long-list.ts';
import { keySeparator, PathTree, treeKey } from './path-tree.ts';
import { blockBytes } from '../writing/tar-header.ts';
import { TextMap } from '../lists/text-map.ts';
import { VolumePlaces } from './volume-places.ts';

const sha256Digest = z.custom<Digest>(
  (value) => typeof value === 'string' && isDigest(value) && value.startsWith('sha256:'),
  'is not a sha256 digest',
);
const count = z.number().int().nonnegative();
const volume = z.number().int().positive();

const part = z.object({ volume, offset: count, size: count, digest: sha256Digest.optional() });
/** What may be very long is looked at element by element, so that it is never there twice. */
const longList = z.custom<LongList<unknown>>(
  (value) => Array.isArray(value) || value instanceof PackedList,
  'is not a list',
);
const modelFile = z.object({ path: z.string(), digest: sha256Digest, size: count });
const modelItem = z.object({
  kind: z.literal('model'),
  repo: z.string(),
  commit: z.string().regex(/^[0-9a-f]{40}$/),
  license: z.string().optional(),
  refs: z.array(z.string()),
  files: longList,
  tree: z.object({ digest: sha256Digest, size: count }),
});
const imageItem = z.object({
  kind: z.literal('image'),
  reference: z.string(),
  root: z.object({
    mediaType: z.string(),
    digest: sha256Digest,
    size: count,
    artifactType: z.string().optional(),
  }),
  digests: z.array(sha256Digest),
  to: z.string().optional(),
});

const heldBlob = z
  .object({
    digest: sha256Digest,
    size: count,
    key: z.string().optional(),
    repository: z.string().optional(),
  })
  .refine(({ key, repository }) => key !== undefined || repository !== undefined, 'says not where the zone has it');
const blob = z.object({ path: z.string(), digest: sha256Digest, size: count, parts: z.array(part).min(1) });
const link = z.object({ path: z.string(), target: z.string(), volume, offset: count });

const outline = z.object({
  schema: z.literal(inventorySchemaId),
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
  tool: z.string(),
  base: z.object({ name: z.string(), digest: sha256Digest, held: longList }).optional(),
  items: z.array(z.discriminatedUnion('kind', [modelItem, imageItem])),
  blobs: longList,
  links: longList,
  volumes: z.array(
    z.object({ name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*\.tar$/), size: count, digest: sha256Digest }),
  ),
});

/** Each of them as it is looked at. @throws E_CORRUPT */
function* valid<T>(list: LongList<unknown>, schema: z.ZodType<T>, name: string): Generator<T> {
  let index = 0;
  for (const each of list) {
    if (!schema.safeParse(each).success) validate(schema, each, `${bundleFiles.inventory}: ${name}.${index}`);
    yield each as T;
    index += 1;
  }
}

/**
 * Reads an inventory, given in pieces, and checks everything that an importer will rely on, before any path or offset of it is used.
 * @throws E_CORRUPT
 */
export function parseInventory(chunks: Iterable<Uint8Array>): Inventory {
  return checkInventory(parseLongLists(chunks, bundleFiles.inventory));
}

/**
 * The same for what has been parsed, or made: what a verifier would refuse is refused.
 * @param value its long lists become those of the result
 * @throws E_CORRUPT
 */
export function checkInventory(value: unknown): Inventory {
  // What its long lists hold is looked at below, once each.
  const inventory = validate(outline, value, bundleFiles.inventory) as Inventory;
  const { items, blobs, links, base, volumes } = inventory;
  const tree = new PathTree(where);
  const places = new VolumePlaces(volumes);
  const sizes = new TextMap();
  for (const { digest: held, size, key } of valid(base?.held ?? [], heldBlob, 'base.held')) {
    if (key !== undefined) checkRelativePath(key, 'the base');
    sizes.set(held, size);
  }
  for (const each of valid(blobs, blob, 'blobs')) {
    tree.add(each.path);
    checkParts(each);
    for (const { volume: number, offset, size } of each.parts)
      places.add(each.path, number, offset - blockBytes, offset + size);
    sizes.set(each.digest, each.size);
  }
  for (const { path, offset, volume: number } of valid(links, link, 'links')) {
    tree.add(path);
    places.add(path, number, offset, offset + blockBytes);
  }
  tree.end(pathsOf(blobs, links));
  places.end();
  checkLinks(links);
  const names = new PathTree('a volume');
  for (const { name } of volumes) names.add(name);
  names.end(volumes.map(({ name }) => name));
  checkItems(items, sizes);
  return inventory;
}

const where = `\`${bundleFiles.inventory}\``;

/** No link leads out of its own tree, nor through another link, which may lead anywhere. */
function checkLinks(links: LongList<BundleLink>): void {
  const keys = new TextMap();
  for (const { path } of links) keys.set(treeKey(path), 0);
  for (const { path, target } of links) {
    const end = linkTarget(path, target);
    if (end === undefined || !end.startsWith(`${path.split('/')[0]}/`))
      throw corrupt(`the link \`${printable(path)}\` leads out of its tree`);
    checkRelativePath(end, where);
    if (keys.beginningOf(treeKey(end), keySeparator) !== undefined)
      throw corrupt(`the link \`${printable(path)}\` leads through another link`);
  }
}

/** Their paths, one list after the other, as often as they are gone through. */
function pathsOf(...lists: readonly LongList<{ path: string }>[]): Iterable<string> {
  return {
    *[Symbol.iterator]() {
      for (const list of lists) for (const { path } of list) yield path;
    },
  };
}

function checkParts({ path, size, parts }: BundleBlob): void {
  if (parts.reduce((sum, each) => sum + each.size, 0) !== size)
    throw corrupt(`the parts of \`${printable(path)}\` do not add up to its size`);
  if (parts.length > 1 && parts.some((each) => each.digest === undefined))
    throw corrupt(`a part of \`${printable(path)}\` has no digest`);
}

const repoPattern = /^(?:\w[\w.-]*\/)?\w[\w.-]*$/;
/** https://github.com/opencontainers/image-spec/blob/main/annotations.md : the grammar of names in a layout. */
const namePattern =
  /^[A-Za-z0-9]+(?:(?:[-._:@+]|--|__)[A-Za-z0-9]+)*(?:\/[A-Za-z0-9]+(?:(?:[-._:@+]|--|__)[A-Za-z0-9]+)*)*$/;

/** @param held sizes of what is in the bundle and its base, by digest */
function checkItems(items: readonly BundleItem[], held: TextMap): void {
  for (const item of items) {
    if (item.kind === 'image') {
      if (!namePattern.test(item.reference) || (item.to !== undefined && !namePattern.test(item.to)))
        throw corrupt(`\`${printable(item.reference)}\` is not the name of an image`);
      if (!item.digests.includes(item.root.digest))
        throw corrupt(`the root of the image \`${item.reference}\` is none of its digests`);
      const lacking = item.digests.find((digest) => !held.has(digest));
      if (lacking !== undefined)
        throw corrupt(
          `the image \`${item.reference}\` needs \`${lacking}\`, which is neither in the bundle nor in its base`,
        );
      continue;
    }
    if (!repoPattern.test(item.repo) || item.repo.includes('--'))
      throw corrupt(`\`${printable(item.repo)}\` is not a repo`);
    for (const ref of item.refs) checkRelativePath(ref, `the model \`${item.repo}\``);
    const tree = new PathTree(`the model \`${item.repo}\``);
    const check = ({ digest: wanted, size }: Pick<ModelFile, 'digest' | 'size'>): void => {
      if (held.get(wanted) !== size)
        throw corrupt(`the model \`${item.repo}\` needs \`${wanted}\`, which is neither in the bundle nor in its base`);
    };
    for (const file of valid(item.files, modelFile, item.repo)) {
      tree.add(file.path);
      check(file);
    }
    check(item.tree);
    tree.end(pathsOf(item.files));
  }
}
