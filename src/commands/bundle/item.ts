import { totalSize } from '../../core/descriptor.ts';
import type { BundleItem, HeldBlob, Inventory, InventoryBase } from '../../bundle/records/inventory.ts';
import type { Digest } from '../../core/digest.ts';
import type { ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';

/** `ORG/NAME@COMMIT` or the image's reference. */
export function nameOf(item: BundleItem): string {
  return item.kind === 'model' ? `${item.repo}@${item.commit}` : item.reference;
}

/** What a bundle holds under one name: for `inspect`, and for the verdict of `verify`. */
export function describeItem(item: BundleItem, inventory: Inventory): ReportItem {
  if (item.kind === 'model') {
    const bytes = totalSize(item.files);
    return {
      kind: 'model',
      name: nameOf(item),
      state: 'done',
      bytes,
      detail: {
        repo: item.repo,
        commit: item.commit,
        ...(item.license === undefined ? {} : { license: item.license }),
        refs: item.refs,
        files: item.files.map(({ path }) => path),
      },
    };
  }
  const held = imageSizes(inventory);
  const bytes = item.digests.reduce((sum, digest) => sum + (held.get(digest) ?? 0), 0);
  return {
    kind: 'image',
    name: nameOf(item),
    state: 'done',
    digest: item.root.digest,
    bytes,
    detail: {
      mediaType: item.root.mediaType,
      blobs: item.digests.length,
      ...(item.to === undefined ? {} : { to: item.to }),
    },
  };
}

const sizes = new WeakMap<Inventory, ReadonlyMap<Digest, number>>();

/** Of every blob that an image may have; looked up once, as there may be many images, and many other files. */
function imageSizes(inventory: Inventory): ReadonlyMap<Digest, number> {
  const known = sizes.get(inventory);
  if (known) return known;
  const blobs = inventory.blobs.filter(({ path }) => path.startsWith('oci/blobs/'));
  const held: HeldBlob[] = inventory.base?.held.filter(({ repository }) => repository !== undefined) ?? [];
  const found = new Map([...blobs, ...held].map(({ digest, size }) => [digest, size]));
  sizes.set(inventory, found);
  return found;
}

/** What a delta leaves to its base, as a line. */
export function describeBase(base: InventoryBase): string {
  return `delta      ${leftToBase(base)}`;
}

/** The same without a word before it. */
export function leftToBase({ name, held }: InventoryBase): string {
  const bytes = [...new Map(held.map(({ digest, size }) => [digest, size])).values()].reduce(
    (sum, size) => sum + size,
    0,
  );
  return `${plural(held.length, 'blob')} (${formatBytes(bytes)}) are left out: the zone has them from \`${name}\``;
}
