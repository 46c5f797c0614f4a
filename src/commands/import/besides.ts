import type { ImageItem } from '../../bundle/records/inventory.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import type { NewReceipt } from '../../bundle/records/receipt.ts';
import type { ObjectStore } from '../../core/ports.ts';
import type { ReportItem } from '../../core/report.ts';
import { chartFilesOf, importChartFiles } from './charts.ts';
import { filesOf, importFiles, planFiles } from './files.ts';
import type { ModelObject } from './placed-object.ts';
import type { ImportRun } from './run.ts';
import { ObjectKeys } from './object-keys.ts';
import { type Looks, TargetState } from './state.ts';

/** What is imported as plain files, beside models and images. */
export interface Besides {
  charts: { items: readonly ImageItem[]; state: TargetState } | undefined;
  files: { objects: readonly ModelObject[]; state: TargetState } | undefined;
}

/**
 * Where charts and files go: `s3://BUCKET/PREFIX`, `file:///DIR` or just a directory.
 * @param charts those that no registry takes
 * @param open for writing, or for a look
 * @throws E_USAGE, and what the stores throw
 */
export async function openBesides(
  reader: BundleReader,
  charts: readonly ImageItem[],
  options: { charts?: string | undefined; files?: string | undefined; verify?: boolean | undefined },
  open: (url: string) => Promise<ObjectStore>,
): Promise<Besides> {
  const { verify, files } = options;
  const opened = async (place: string, looks: Looks): Promise<TargetState> =>
    TargetState.open(await open(place.includes('://') ? place : `file:${place}`), looks, verify);
  const asFiles = options.charts !== undefined && !options.charts.startsWith('oci://') ? options.charts : undefined;
  // A file with the chart, and one with its signature.
  const ofCharts = { folders: charts.length, objects: 2 * charts.length };
  const objects = files === undefined ? [] : filesOf(reader);
  return {
    charts: asFiles === undefined ? undefined : { items: charts, state: await opened(asFiles, ofCharts) },
    files:
      files === undefined
        ? undefined
        : { objects, state: await opened(files, new ObjectKeys(objects.map(({ key }) => key)).looks) },
  };
}

/** What of it would move. */
export async function planBesides(reader: BundleReader, { charts, files }: Besides): Promise<ReportItem[]> {
  return [
    ...(charts ? await planFiles('chart', await chartFilesOf(charts.items, reader), charts.state) : []),
    ...(files ? await planFiles('file', files.objects, files.state) : []),
  ];
}

/** Puts charts and files where they go; one that fails is an item, and does not keep the others. */
export async function importBesides(run: ImportRun, { charts, files }: Besides): Promise<void> {
  if (charts) await importChartFiles(run, charts.items, charts.state);
  if (files) await importFiles(run, files.objects, files.state);
}

/** Whether every single file is where files go. */
export function hasFiles(reader: BundleReader, { targets, files = [] }: NewReceipt): boolean {
  return targets.files === undefined || filesOf(reader).every(({ key }) => files.some(({ path }) => path === key));
}
