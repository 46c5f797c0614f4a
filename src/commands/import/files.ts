import type { ReceivedFile, Receipt } from '../../bundle/receipt.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import type { ReportItem } from '../../core/report.ts';
import { attempt } from '../attempt.ts';
import type { Context } from '../context.ts';
import { filesFolder } from '../files.ts';
import type { MediaToCome } from './media.ts';
import { type ModelObject, putObjects } from './models.ts';
import { type Looks, TargetState } from './state.ts';
import { openObjects } from '../objects.ts';

/**
 * Where files go: `s3://BUCKET/PREFIX`, `file:///DIR` or just a directory.
 * @param looks what is going to be looked for there
 * @param part of the work that is done here
 * @throws E_USAGE
 */
export async function openFiles(
  place: string,
  looks: Looks,
  reads: boolean | undefined,
  part: string | undefined,
  context: Context,
): Promise<TargetState> {
  const url = place.includes('://') ? place : `file:${place}`;
  return TargetState.open(await openObjects(context, url, part), looks, reads);
}

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
export async function importFiles(
  objects: readonly ModelObject[],
  reader: BundleReader,
  target: TargetState,
  items: ReportItem[],
  receipt: Receipt,
  media: MediaToCome,
  context: Context,
): Promise<void> {
  receipt.files = [];
  const { store } = target;
  context.report({ type: 'stage', text: `importing files to ${store.name}` });
  for (const object of objects)
    await attempt(items, 'file', object.key, async () => {
      const { bytes, files } = await putFiles([object], object.key, reader, target, media, context);
      receipt.files?.push(...files);
      note('file', object.key, `${store.name}/${object.key}`, bytes, items, context);
    });
}

/** @throws E_MEDIUM for what is on no medium that is here, and what the store throws */
export async function putFiles(
  objects: readonly ModelObject[],
  name: string,
  reader: BundleReader,
  target: TargetState,
  media: MediaToCome,
  context: Context,
): Promise<{ bytes: number; files: ReceivedFile[] }> {
  context.report({ type: 'total', bytes: objects.reduce((sum, { size }) => sum + size, 0) });
  const { moved, broken, lacking, there } = await putObjects(objects, target, context);
  const [error] = broken;
  if (error) throw error;
  media.refuse(lacking, name, reader);
  return { bytes: moved, files: there.map(({ key, digest, size }) => ({ path: key, digest, size })) };
}

export function note(
  kind: string,
  name: string,
  target: string,
  bytes: number,
  items: ReportItem[],
  context: Context,
): void {
  const state = bytes === 0 ? 'present' : 'done';
  context.report({ type: 'item', item: name, state, bytes });
  items.push({ kind, name, state, bytes, detail: { target } });
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
