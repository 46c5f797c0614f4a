import type { NewReceipt } from '../../bundle/records/receipt.ts';
import { bytesOf, makeReport, type Report, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import { clusterCacheOf } from '../../doctor/names.ts';
import { nameOf } from '../bundle/item.ts';
import type { ModelSource } from './placed-object.ts';
import type { ImportRun } from './run.ts';
import { describeSurplus, isSurplus } from './surplus.ts';

/** What has come of an import, for people and programs. */
export function summarise(run: ImportRun<ModelSource>, receiptPath: string): Report {
  const { items, receipt, media } = run;
  const brought = items.filter((item) => item.state !== 'failed' && !isSurplus(item));
  const bytes = bytesOf(brought);
  const summary = [
    ...brought.map(
      ({ name, state, bytes: moved = 0, detail }) =>
        `${name} -> ${String(detail?.['target'])}  ${state === 'present' ? 'was there already' : formatBytes(moved)}`,
    ),
    ...describeSurplus(items),
    ...notImported(run),
    ...nextStep(receipt),
    verdict(items, receipt, `${kindsOf(receipt)}, ${formatBytes(bytes)} moved`, receiptPath),
    ...media.next(),
  ];
  return makeReport('import', items, { models: receipt.models.length, images: receipt.images.length, bytes }, summary);
}

function kindsOf({ models, images, charts, files }: NewReceipt): string {
  return [
    plural(models.length, 'model'),
    plural(images.length, 'image'),
    ...(charts ? [plural(charts.length, 'chart')] : []),
    ...(files ? [plural(files.length, 'file')] : []),
  ].join(', ');
}

function notImported({ reader, receipt }: ImportRun<ModelSource>): string[] {
  const received = [...receipt.images, ...(receipt.charts ?? [])].map(({ reference }) => reference);
  const left = reader.inventory.items.filter((item) =>
    item.kind === 'model'
      ? receipt.targets.models === undefined
      : receipt.targets.images === undefined && !received.includes(item.reference),
  );
  return left.length === 0 ? [] : [`not imported, as no target was given for them: ${left.map(nameOf).join(', ')}`];
}

function nextStep({ complete, models, targets }: NewReceipt): string[] {
  const isForSie = models.some(({ objects }) => objects.find(({ key }) => key.includes('/refs/')));
  if (!complete || !isForSie) return [];
  const url = clusterCacheOf(targets.models ?? '');
  return [`for SIE, point workers.common.clusterCache.url at ${url} and ask the cluster with \`sie-mirror smoke\``];
}

function verdict(items: readonly ReportItem[], { complete }: NewReceipt, counts: string, receiptPath: string): string {
  if (!complete)
    return `INCOMPLETE: ${counts}; mend what is said above and run the same command again, what has arrived is kept; receipt: ${receiptPath}`;
  const lacking = new Set(items.filter(({ kind }) => kind === 'referrers').map(({ name }) => name)).size;
  const without = lacking === 0 ? '' : `; ${lacking} INCOMPLETE, without some of what belongs to them`;
  return `imported: ${counts}${without}; receipt: ${receiptPath}`;
}
