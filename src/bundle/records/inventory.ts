import type { Descriptor } from '../../core/descriptor.ts';
import type { Digest } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import type { LongList } from '../lists/long-list.ts';

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
  files: LongList<ModelFile>;
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
  held: LongList<HeldBlob>;
}

/** Everything that is in a bundle and where: `inventory.json`. */
export interface Inventory {
  schema: typeof inventorySchemaId;
  name: string;
  tool: string;
  /** Of a delta only. */
  base?: InventoryBase | undefined;
  items: BundleItem[];
  blobs: LongList<BundleBlob>;
  links: LongList<BundleLink>;
  volumes: BundleVolume[];
}

/** Of what an inventory says and cannot be so. */
export function corruptInventory(text: string): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${bundleFiles.inventory}\`: ${text}`);
}
