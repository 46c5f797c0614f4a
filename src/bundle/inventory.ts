import { type Digest, isDigest } from '../core/digest.ts';
import type { Descriptor } from '../core/descriptor.ts';
import { MirrorError } from '../core/errors.ts';
import { checkRelativePath, linkTarget } from '../core/path.ts';
import { printable } from '../core/text.ts';
import { digestSchema as digest, validate, parseJson } from '../core/validate.ts';
import * as z from '../core/zod.ts';
import { blockBytes } from './tar-header.ts';

export const inventorySchemaId = 'sie-mirror/inventory/v1';

export const bundleFiles = {
  inventory: 'inventory.json',
  sums: 'SHA256SUMS',
  signature: 'SHA256SUMS.sig',
  sigstore: 'SHA256SUMS.sigstore.json',
  guide: 'VERIFY.md',
  tool: 'sie-mirror.mjs',
  /** Of everything that is in the tool. */
  licences: 'LICENSES.txt',
} as const;

/** A piece of a file in one volume. */
export interface Part {
  /** Counts from 1. */
  volume: number;
  /** Where the bytes begin in the volume. */
  offset: number;
  size: number;
  /** Only of files that are split; an unsplit file has its own digest. */
  digest?: Digest | undefined;
}

/** A regular file of the bundle. */
export interface BundleBlob {
  path: string;
  digest: Digest;
  size: number;
  parts: Part[];
}

/** A symbolic link of the bundle; `offset` is where its header begins. */
export interface BundleLink {
  path: string;
  target: string;
  volume: number;
  offset: number;
}

export interface BundleVolume {
  name: string;
  size: number;
  digest: Digest;
}

/** A file of a model, as loaders know it. */
export interface ModelFile {
  path: string;
  digest: Digest;
  size: number;
}

export interface ModelItem {
  kind: 'model';
  repo: string;
  commit: string;
  /** As the hub states it. */
  license?: string | undefined;
  /** Names that lead to the commit, `main` among them. */
  refs: string[];
  files: ModelFile[];
  /** The exact list of files that huggingface_hub wants beside a pinned snapshot. */
  tree: { digest: Digest; size: number };
}

export interface ImageItem {
  kind: 'image';
  /** Source reference, the name in the layout. */
  reference: string;
  root: Descriptor;
  /** Everything that the image consists of, its signatures and other referrers included. */
  digests: Digest[];
  /** Path below the registry that it is to be imported to, when the mirror manifest says so. */
  to?: string | undefined;
}

export type BundleItem = ModelItem | ImageItem;

/** A blob that a delta leaves out, because the zone holds it: a file of a model, or a blob of a repository. */
export interface HeldBlob {
  digest: Digest;
  size: number;
  /** Where it lies below the target of the models. */
  key?: string | undefined;
  /** `registry/repository` at the source; the zone has it where images of that repository are imported to. */
  repository?: string | undefined;
}

/** What a delta builds on: a receipt or the inventory of another bundle. */
export interface InventoryBase {
  name: string;
  /** Of the receipt or inventory. */
  digest: Digest;
  held: HeldBlob[];
}

/** Everything that is in a bundle and where: `inventory.json`. */
export interface Inventory {
  schema: typeof inventorySchemaId;
  name: string;
  tool: string;
  /** Of a delta only. */
  base?: InventoryBase | undefined;
  items: BundleItem[];
  blobs: BundleBlob[];
  links: BundleLink[];
  volumes: BundleVolume[];
}

const sha256Digest = z.custom<Digest>(
  (value) => typeof value === 'string' && isDigest(value) && value.startsWith('sha256:'),
  'is not a sha256 digest',
);
const count = z.number().int().nonnegative();
const volume = z.number().int().positive();

const part = z.object({ volume, offset: count, size: count, digest: sha256Digest.optional() });
/** What may be very long is looked at element by element, so that it is never there twice. */
const longList = z.custom<unknown[]>((value) => Array.isArray(value), 'is not a list');
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
  root: z.object({ mediaType: z.string(), digest, size: count, artifactType: z.string().optional() }),
  digests: z.array(digest),
  to: z.string().optional(),
});

const heldBlob = z.object({
  digest,
  size: count,
  key: z.string().optional(),
  repository: z.string().optional(),
});
const blob = z.object({ path: z.string(), digest: sha256Digest, size: count, parts: z.array(part).min(1) });
const link = z.object({ path: z.string(), target: z.string(), volume, offset: count });

const outline = z.object({
  schema: z.literal(inventorySchemaId),
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/),
  tool: z.string(),
  base: z.object({ name: z.string(), digest: sha256Digest, held: longList }).optional(),
  items: z.array(z.discriminatedUnion('kind', [modelItem, imageItem])),
  blobs: longList,
  links: longList,
  volumes: z.array(
    z.object({ name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*\.tar$/), size: count, digest: sha256Digest }),
  ),
});

function validEach<T>(list: readonly unknown[], schema: z.ZodType<T>, name: string): T[] {
  for (let index = 0; index < list.length; index += 1)
    if (!schema.safeParse(list[index]).success)
      validate(schema, list[index], `${bundleFiles.inventory}: ${name}.${index}`);
  return list as T[];
}

/**
 * Reads an inventory and checks everything that an importer will rely on, before any path or offset of it is used.
 * @throws E_CORRUPT
 */
export function parseInventory(bytes: Uint8Array): Inventory {
  return checkInventory(parseJson(bytes, bundleFiles.inventory));
}

/**
 * The same for what has been parsed, or made: what a verifier would refuse is refused.
 * @param value its long lists become those of the result
 * @throws E_CORRUPT
 */
export function checkInventory(value: unknown): Inventory {
  const inventory = validInventory(value);
  checkPaths(inventory);
  checkParts(inventory);
  checkPlaces(inventory);
  checkItems(inventory);
  return inventory;
}

function validInventory(value: unknown): Inventory {
  const { schema, name, tool, base, items, blobs, links, volumes } = validate(outline, value, bundleFiles.inventory);
  return {
    schema,
    name,
    tool,
    ...(base && { base: { ...base, held: validEach(base.held, heldBlob, 'base.held') } }),
    items: items.map((item) =>
      item.kind === 'model' ? { ...item, files: validEach(item.files, modelFile, item.repo) } : item,
    ),
    blobs: validEach(blobs, blob, 'blobs'),
    links: validEach(links, link, 'links'),
    volumes,
  };
}

function corrupt(text: string): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${bundleFiles.inventory}\`: ${text}`);
}

/** No path leaves the tree, and no link leads out of its own, nor through another link, which may lead anywhere. */
function checkPaths({ blobs, links }: Inventory): void {
  const where = `\`${bundleFiles.inventory}\``;
  checkTree(
    [...blobs, ...links].map(({ path }) => path),
    where,
  );
  const linkKeys = links.map(({ path }) => treeKey(path)).sort();
  for (const { path, target } of links) {
    const end = linkTarget(path, target);
    if (end === undefined || !end.startsWith(`${path.split('/')[0]}/`))
      throw corrupt(`the link \`${printable(path)}\` leads out of its tree`);
    checkRelativePath(end, where);
    // No link is above another one, so only the nearest before it can be above it.
    const key = treeKey(end);
    if (isBelow(key, linkKeys[firstFrom(linkKeys, key) - 1] ?? key))
      throw corrupt(`the link \`${printable(path)}\` leads through another link`);
  }
}

/** Each path is plain, meets no other one on a file system without case, and passes through no other one. */
function checkTree(paths: readonly string[], where: string): void {
  for (const path of paths) checkRelativePath(path, where);
  // In this order what is the same, or below, comes right after: a hostile inventory has many paths, and deep ones.
  const keys = paths.map(treeKey).sort();
  const pathsOf = (key: string): string[] => paths.filter((path) => treeKey(path) === key).map(printable);
  for (const [index, key] of keys.entries()) {
    const before = keys[index - 1];
    if (before === undefined) continue;
    if (before === key)
      throw corrupt(
        `the paths ${pathsOf(key)
          .map((path) => `\`${path}\``)
          .join(' and ')} are one on some file systems`,
      );
    if (isBelow(key, before)) throw corrupt(`the path \`${pathsOf(key)[0]}\` goes through another entry`);
  }
}

/** The same for names that are one on some file systems; a folder sorts right before what is in it. */
function treeKey(path: string): string {
  return path.normalize('NFC').toLowerCase().replaceAll('/', '\0');
}

function isBelow(key: string, folder: string): boolean {
  return key.startsWith(`${folder}\0`);
}

/** How many of the sorted keys come before this one. */
function firstFrom(keys: readonly string[], key: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function checkParts({ blobs }: Inventory): void {
  for (const { path, size, parts } of blobs) {
    if (parts.reduce((sum, each) => sum + each.size, 0) !== size)
      throw corrupt(`the parts of \`${printable(path)}\` do not add up to its size`);
    if (parts.length > 1 && parts.some((each) => each.digest === undefined))
      throw corrupt(`a part of \`${printable(path)}\` has no digest`);
  }
}

/** Each part and link has its place in a volume to itself, with room for the header before its bytes. */
function checkPlaces({ blobs, links, volumes }: Inventory): void {
  checkTree(
    volumes.map(({ name }) => name),
    'a volume',
  );
  const taken = volumes.map((): Place[] => []);
  const take = (path: string, number: number, start: number, end: number): void => {
    const inside = volumes[number - 1];
    if (!inside || start < 0 || end > inside.size)
      throw corrupt(`a part of \`${printable(path)}\` lies outside its volume`);
    taken[number - 1]?.push({ path, start, end });
  };
  for (const { path, parts } of blobs)
    for (const each of parts) take(path, each.volume, each.offset - blockBytes, each.offset + each.size);
  for (const { path, offset, volume: number } of links) take(path, number, offset, offset + blockBytes);
  for (const places of taken) {
    let end = 0;
    for (const place of places.sort((a, b) => a.start - b.start)) {
      if (place.start < end) throw corrupt(`\`${printable(place.path)}\` overlaps another entry in its volume`);
      end = place.end;
    }
  }
}

/** What an entry takes in its volume. */
interface Place {
  path: string;
  start: number;
  end: number;
}

const repoPattern = /^(?:[A-Za-z0-9][\w.-]*\/)?[A-Za-z0-9][\w.-]*$/;
/** https://github.com/opencontainers/image-spec/blob/main/annotations.md : the grammar of names in a layout. */
const namePattern =
  /^[A-Za-z0-9]+(?:(?:[-._:@+]|--|__)[A-Za-z0-9]+)*(?:\/[A-Za-z0-9]+(?:(?:[-._:@+]|--|__)[A-Za-z0-9]+)*)*$/;

function checkItems({ items, blobs, base }: Inventory): void {
  const held = new Map<Digest, number>([...(base?.held ?? []), ...blobs].map((blob) => [blob.digest, blob.size]));
  for (const { key } of base?.held ?? []) if (key !== undefined) checkRelativePath(key, 'the base');
  for (const item of items) {
    if (item.kind === 'image') {
      if (!namePattern.test(item.reference) || (item.to !== undefined && !namePattern.test(item.to)))
        throw corrupt(`\`${printable(item.reference)}\` is not the name of an image`);
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
    checkTree(
      item.files.map(({ path }) => path),
      `the model \`${item.repo}\``,
    );
    for (const file of [...item.files, item.tree])
      if (held.get(file.digest) !== file.size)
        throw corrupt(
          `the model \`${item.repo}\` needs \`${file.digest}\`, which is neither in the bundle nor in its base`,
        );
  }
}
