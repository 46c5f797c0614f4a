import { stat } from 'node:fs/promises';
import { totalSize } from '../core/descriptor.ts';
import type { Inventory } from '../bundle/records/inventory.ts';
import { readInventory } from '../bundle/reader.ts';
import type { Receipt } from '../bundle/records/receipt.ts';
import type { Signer } from '../bundle/proof/signers.ts';
import { bytesOf, makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import type { Lock } from '../manifest/schema.ts';
import { describeBase, describeItem } from './bundle/item.ts';
import type { Context } from './context.ts';
import { type HeldFile, type Holdings, holdingsOf } from './records/holdings.ts';
import { readRecord } from './records/record.ts';
import { openBundle, type TrustOptions } from './records/sealed.ts';

export interface InspectOptions extends TrustOptions {
  /** A bundle, or the file of an inventory, a receipt or a lock. */
  record: string;
}

/**
 * What a record speaks of; of a bundle by its inventory, volumes are not read.
 * @throws E_NOT_FOUND, E_CORRUPT, E_SIGNATURE, E_USAGE for a file that is none of these
 */
export async function inspect(options: InspectOptions, context: Context): Promise<Report> {
  const open = async (directory: string): ReturnType<typeof openBundle> => openBundle(directory, options, context);
  const found = await stat(context.path(options.record)).catch(() => undefined);
  if (found?.isDirectory()) {
    const bundle = await open(options.record);
    return ofInventory(await readInventory(bundle), bundle.signers);
  }
  const record = await readRecord(options.record, context, open, options);
  if (record.kind === 'inventory') return ofInventory(record.inventory, []);
  const holdings = holdingsOf(record);
  return ofHoldings(holdings, record.kind === 'receipt' ? ofReceipt(record.receipt) : ofLock(record.lock));
}

function ofInventory(inventory: Inventory, signers: readonly Signer[]): Report {
  const items = inventory.items.map((item) => describeItem(item, inventory));
  const bytes = totalSize(inventory.volumes);
  const summary = items.map(lineOf);
  if (inventory.base) summary.push(describeBase(inventory.base));
  summary.push(...inventory.volumes.map(({ name, size }) => `volume  ${name}  ${formatBytes(size)}`));
  for (const { fingerprint, role } of signers) summary.push(`signature  good, by the key ${fingerprint} (${role})`);
  summary.push(
    `${inventory.name}, made by ${inventory.tool}: ${plural(items.length, 'item')}, ${formatBytes(bytes)} in ${plural(inventory.volumes.length, 'volume')}; not verified here, that is what \`sie-mirror verify\` does`,
  );
  return makeReport('inspect', items, { items: items.length, bytes, volumes: inventory.volumes.length }, summary);
}

function lineOf({ kind, name, bytes, digest = '' }: ReportItem): string {
  return [kind.padEnd(5), name, bytes === undefined ? '' : formatBytes(bytes), digest].join('  ').trimEnd();
}

/** @param end what kind of record it is, for the last line */
function ofHoldings({ name, repos, images, files }: Holdings, end: string): Report {
  const items: ReportItem[] = [
    ...repos.map(({ kind, repo, commit, files: inside }) => ({
      kind,
      name: `${repo}@${commit}`,
      state: 'done' as const,
      bytes: [...inside.values()].reduce((sum, { size = 0 }) => sum + size, 0),
      detail: { repo, commit, files: [...inside.keys()] },
    })),
    ...[...images].map(([reference, { digest, bytes }]) => ({
      kind: 'image',
      name: reference,
      state: 'done' as const,
      digest,
      ...(bytes === undefined ? {} : { bytes }),
    })),
    ...[...files].map(([file, held]) => ({ kind: 'file', name: file, state: 'done' as const, ...known(held) })),
  ];
  const bytes = bytesOf(items);
  const last = `${name}: ${end}; ${plural(items.length, 'item')}, ${formatBytes(bytes)}`;
  return makeReport('inspect', items, { items: items.length, bytes }, [...items.map(lineOf), last]);
}

function known({ id, size }: HeldFile): Pick<ReportItem, 'bytes' | 'digest'> {
  return { ...(size === undefined ? {} : { bytes: size }), ...(id === undefined ? {} : { digest: id }) };
}

function ofReceipt({ tool, complete, targets }: Receipt): string {
  const where = Object.entries(targets).flatMap(([kind, target]) =>
    target === undefined ? [] : [`${kind} in ${target}`],
  );
  return `the receipt of ${complete ? 'an' : 'an UNFINISHED'} import by ${tool}, ${where.join(', ')}`;
}

function ofLock({ models, images, files }: Lock): string {
  return `a lock of ${plural(models.length, 'repo')}, ${plural(images.length, 'image')} and ${plural(files.length, 'file')}, which says what is wanted and not what is there`;
}
