import { readInventory } from '../bundle/reader.ts';
import { makeReport, type Report } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { describeBase, describeItem } from './bundle/item.ts';
import type { Context } from './context.ts';
import { openBundle, type TrustOptions } from './sealed.ts';

export interface InspectOptions extends TrustOptions {
  bundle: string;
}

/** What is in a bundle, by its inventory; the volumes are not read. */
export async function inspect(options: InspectOptions, context: Context): Promise<Report> {
  const bundle = await openBundle(options.bundle, options, context);
  const inventory = await readInventory(bundle);
  const items = inventory.items.map((item) => describeItem(item, inventory));
  const bytes = inventory.volumes.reduce((sum, { size }) => sum + size, 0);
  const summary = items.map(({ kind, name, bytes: size = 0, digest }) =>
    [kind.padEnd(5), name, formatBytes(size), digest ?? ''].join('  ').trimEnd(),
  );
  if (inventory.base) summary.push(describeBase(inventory.base));
  summary.push(...inventory.volumes.map(({ name, size }) => `volume  ${name}  ${formatBytes(size)}`));
  for (const { fingerprint, role } of bundle.signers)
    summary.push(`signature  good, by the key ${fingerprint} (${role})`);
  summary.push(
    `${inventory.name}, made by ${inventory.tool}: ${plural(items.length, 'item')}, ${formatBytes(bytes)} in ${plural(inventory.volumes.length, 'volume')}; not verified here, that is what \`sie-mirror verify\` does`,
  );
  return makeReport('inspect', items, { items: items.length, bytes, volumes: inventory.volumes.length }, summary);
}
