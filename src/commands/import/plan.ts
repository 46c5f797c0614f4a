import { inTurn, type LongList } from '../../bundle/lists/long-list.ts';
import type { Inventory } from '../../bundle/records/inventory.ts';
import { forEachLimited, requestsAtOnce } from '../../core/limit.ts';
import { bytesOf, makeReport, type Report, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import { describeItem, nameOf } from '../bundle/item.ts';
import type { Context } from '../context.ts';
import { openRepository } from '../places/endpoint.ts';
import { isTagged, type PlacedImage } from './images.ts';
import { type HubLayout, stagesOf } from './models.ts';
import type { ModelObject, ModelSource } from './placed-object.ts';
import type { TargetState } from './state.ts';

/** Where things would go. */
interface PlannedImport {
  reader: ModelSource;
  /** Of the store that takes models as objects, if one does. */
  state: TargetState | undefined;
  layout: HubLayout;
  /** Of the files of one machine of several. */
  keys?: ReadonlySet<string> | undefined;
  images?: readonly PlacedImage[];
}

/** What an import would do, after looking at the targets and writing nothing. @param others what is planned already */
export async function planImport(
  { reader, state, layout, keys, images = [] }: PlannedImport,
  context: Context,
  others: readonly ReportItem[],
): Promise<Report> {
  const items: ReportItem[] = [...others];
  for (const item of reader.inventory.items) {
    const stages = state && item.kind === 'model' ? stagesOf(item, reader, layout, keys) : [];
    if (state && stages.some(({ length }) => length > 0))
      items.push(await planModel(nameOf(item), stages, state, context));
  }
  for (const image of images) items.push(await planImage(image, reader.inventory, context));
  const planned = items.filter(({ state: each }) => each === 'planned');
  const bytes = bytesOf(planned);
  return makeReport('import', items, { items: planned.length, bytes }, [
    ...items.map(
      ({ name, state: each, bytes: size = 0, detail }) =>
        `${name} -> ${String(detail?.['target'])}  ${each === 'present' ? 'is there already' : formatBytes(size)}`,
    ),
    `would import ${plural(planned.length, 'item')}, at most ${formatBytes(bytes)}; nothing was written`,
  ]);
}

async function planModel(
  name: string,
  stages: readonly LongList<ModelObject>[],
  target: TargetState,
  context: Context,
): Promise<ReportItem> {
  let bytes = 0;
  let objects = 0;
  await forEachLimited(inTurn(stages), requestsAtOnce(context.slots), async (object) => {
    if (await target.find(object)) return;
    objects += 1;
    bytes += object.size;
  });
  const state = objects === 0 ? 'present' : 'planned';
  return { kind: 'model', name, state, bytes, detail: { target: target.store.name, objects } };
}

async function planImage(image: PlacedImage, inventory: Inventory, context: Context): Promise<ReportItem> {
  const target = await openRepository(context, image.target, image.reference);
  const isThere = await isTagged(image, target);
  const { name, bytes = 0 } = describeItem(image.item, inventory);
  const state = isThere ? 'present' : 'planned';
  return { kind: 'image', name, state, bytes: isThere ? 0 : bytes, detail: { target: target.name } };
}
