import type { ReceivedFile } from '../../bundle/records/receipt.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import { totalSize } from '../../core/descriptor.ts';
import type { ReportItem } from '../../core/report.ts';
import { attempt } from '../attempt.ts';
import { filesFolder } from '../store/files.ts';
import { putObjects } from './models.ts';
import type { ModelObject } from './placed-object.ts';
import { type ImportRun, noteBrought } from './run.ts';
import type { TargetState } from './state.ts';

/** The single files of a bundle, licences among them, by their names in the target. */
export function filesOf(reader: BundleReader): ModelObject[] {
  const prefix = `${filesFolder}/`;
  return reader.inventory.blobs
    .filter(({ path }) => path.startsWith(prefix))
    .map((blob) => {
      const { path, digest, size } = blob;
      const from = reader.lacking(blob).length > 0 ? { blob } : reader.content(blob);
      return { key: path.slice(prefix.length), digest, size, from };
    });
}

/** Puts each file that is not there yet; one that fails does not keep the others. */
export async function importFiles(run: ImportRun, objects: readonly ModelObject[], target: TargetState): Promise<void> {
  const { receipt, items, context } = run;
  receipt.files = [];
  const { store } = target;
  context.report({ type: 'stage', text: `importing files to ${store.name}` });
  for (const object of objects)
    await attempt(items, 'file', object.key, async () => {
      const { bytes, files } = await putFiles(run, [object], object.key, target);
      receipt.files?.push(...files);
      noteBrought(run, { kind: 'file', name: object.key, target: `${store.name}/${object.key}`, bytes });
    });
}

/** @throws E_MEDIUM for what is on no medium that is here, and what the store throws */
export async function putFiles(
  { reader, media, context }: ImportRun,
  objects: readonly ModelObject[],
  name: string,
  target: TargetState,
): Promise<{ bytes: number; files: ReceivedFile[] }> {
  context.report({ type: 'total', bytes: totalSize(objects) });
  const { moved, broken, lacking, there } = await putObjects(objects, target, context);
  const [error] = broken;
  if (error) throw error;
  media.refuse(lacking, name, reader);
  return { bytes: moved, files: there.map(({ key, digest, size }) => ({ path: key, digest, size })) };
}

/** What of these would move, for a plan. */
export async function planFiles(
  kind: string,
  objects: readonly ModelObject[],
  target: TargetState,
): Promise<ReportItem[]> {
  const items: ReportItem[] = [];
  for (const object of objects) {
    const found = await target.find(object);
    const state = found ? 'present' : 'planned';
    items.push({
      kind,
      name: object.key,
      state,
      bytes: found ? 0 : object.size,
      detail: { target: target.store.name },
    });
  }
  return items;
}
