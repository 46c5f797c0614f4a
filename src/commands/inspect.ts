import type { BundleItem, Inventory } from '../bundle/inventory.ts';
import { readInventory } from '../bundle/reader.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import type { Context } from './context.ts';
import { openBundle } from './sealed.ts';
import { nameOf } from './verify.ts';

export interface InspectOptions {
  bundle: string;
  key?: string | undefined;
}

/** What is in a bundle, by its inventory; the volumes are not read. */
export async function inspect(options: InspectOptions, context: Context): Promise<Report> {
  const { bundle, keyFingerprint } = await openBundle(options.bundle, options.key, context);
  const inventory = await readInventory(bundle);
  const items = inventory.items.map((item) => contentItem(item, inventory));
  const bytes = inventory.volumes.reduce((sum, { size }) => sum + size, 0);
  const summary = items.map(({ kind, name, bytes: size = 0, digest }) =>
    [kind.padEnd(5), name, formatBytes(size), digest ?? ''].join('  ').trimEnd(),
  );
  summary.push(...inventory.volumes.map(({ name, size }) => `volume  ${name}  ${formatBytes(size)}`));
  if (keyFingerprint !== undefined) summary.push(`signature  good, by the key ${keyFingerprint}`);
  summary.push(
    `${inventory.name}, made by ${inventory.tool}: ${plural(items.length, 'item')}, ${formatBytes(bytes)} in ${plural(inventory.volumes.length, 'volume')}; not verified here, that is what \`sie-mirror verify\` does`,
  );
  return makeReport('inspect', items, { items: items.length, bytes, volumes: inventory.volumes.length }, summary);
}

function contentItem(item: BundleItem, inventory: Inventory): ReportItem {
  if (item.kind === 'model') {
    const bytes = item.files.reduce((sum, { size }) => sum + size, 0);
    return {
      kind: 'model',
      name: nameOf(item),
      state: 'done',
      bytes,
      detail: { repo: item.repo, commit: item.commit, refs: item.refs, files: item.files.map(({ path }) => path) },
    };
  }
  const held = new Map(inventory.blobs.map(({ digest, size }) => [digest, size]));
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
