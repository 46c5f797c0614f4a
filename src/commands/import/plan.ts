import { inTurn } from '../../bundle/lists/long-list.ts';
import { forEachLimited, requestsAtOnce } from '../../core/limit.ts';
import { makeReport, type Report, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import { resolved } from '../../oci/side.ts';
import { describeItem } from '../bundle/item.ts';
import type { Context } from '../context.ts';
import { openRepository } from '../places/endpoint.ts';
import type { PlacedImage } from './images.ts';
import { type HubLayout, stagesOf } from './models.ts';
import type { ModelSource } from './placed-object.ts';
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
  for (const item of state ? reader.inventory.items : []) {
    if (!state || item.kind !== 'model') continue;
    const stages = stagesOf(item, reader, layout, keys);
    if (stages.every(({ length }) => length === 0)) continue;
    let bytes = 0;
    let missing = 0;
    await forEachLimited(inTurn(stages), requestsAtOnce(context.slots), async (object) => {
      if (await state.find(object)) return;
      missing += 1;
      bytes += object.size;
    });
    const { name } = describeItem(item, reader.inventory);
    items.push({
      kind: 'model',
      name,
      state: missing === 0 ? 'present' : 'planned',
      bytes,
      detail: { target: state.store.name, objects: missing },
    });
  }
  for (const { item, target: place, reference } of images) {
    const { target, name } = await openRepository(context, place, reference);
    const isThere = (await resolved(target, reference))?.digest === item.root.digest;
    const { bytes = 0 } = describeItem(item, reader.inventory);
    items.push({
      kind: 'image',
      name: item.reference,
      state: isThere ? 'present' : 'planned',
      bytes: isThere ? 0 : bytes,
      detail: { target: name },
    });
  }
  const planned = items.filter(({ state: each }) => each === 'planned');
  const bytes = planned.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
  return makeReport('import', items, { items: planned.length, bytes }, [
    ...items.map(
      ({ name, state: each, bytes: size = 0, detail }) =>
        `${name} -> ${String(detail?.['target'])}  ${each === 'present' ? 'is there already' : formatBytes(size)}`,
    ),
    `would import ${plural(planned.length, 'item')}, at most ${formatBytes(bytes)}; nothing was written`,
  ]);
}
