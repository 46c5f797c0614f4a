import type { HeldBlob } from '../../bundle/records/inventory.ts';
import { inTurn } from '../../bundle/lists/long-list.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import { MirrorError } from '../../core/errors.ts';
import { forEachLimited, requestsAtOnce } from '../../core/limit.ts';
import { plural } from '../../core/text.ts';
import type { Context } from '../context.ts';
import { openRepository } from '../places/endpoint.ts';
import type { PlacedImage } from './images.ts';
import { type HubLayout, objectsOf } from './models.ts';
import type { TargetState } from './state.ts';

/**
 * What a delta builds on has to be in the zone before anything is written there.
 * @throws E_BASE_MISSING
 */
export async function checkBase(
  reader: BundleReader,
  state: TargetState | undefined,
  layout: HubLayout,
  images: readonly PlacedImage[],
  context: Context,
): Promise<void> {
  const { base, items } = reader.inventory;
  if (!base) return;
  context.report({ type: 'stage', text: `looking for what \`${base.name}\` brought` });
  const missing: string[] = [];
  const models = state ? items.filter((item) => item.kind === 'model') : [];
  const stages = models.flatMap((item) => objectsOf(item, reader, layout));
  await forEachLimited(inTurn(stages), requestsAtOnce(context.slots), async (object) => {
    if (!state || !('key' in object.from)) return;
    if ((await state.find({ ...object, key: object.from.key })) || (await state.find(object))) return;
    missing.push(`${state.store.name}/${object.from.key}`);
  });
  for (const image of images) missing.push(...(await missingBlobs(image, [...base.held], context)));
  if (missing.length === 0) return;
  throw new MirrorError(
    'E_BASE_MISSING',
    `${plural(missing.length, 'blob')} that this delta builds on ${missing.length === 1 ? 'is' : 'are'} not in the zone: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', ...' : ''}`,
    {
      hint: `import the bundle \`${base.name}\` to the same targets first, or have the bundle made again without \`--base\``,
      at: { side: 'target', item: base.name },
    },
  );
}

/** Which of the blobs that an image needs and the bundle lacks are not in the repository that it goes to. */
async function missingBlobs(
  { item, repository, target: place, reference }: PlacedImage,
  held: readonly HeldBlob[],
  context: Context,
): Promise<string[]> {
  const needed = new Set(item.digests);
  const blobs = held.filter((blob) => blob.repository === repository && needed.has(blob.digest));
  const { target } = await openRepository(context, place, reference);
  const missing: string[] = [];
  await forEachLimited(blobs, requestsAtOnce(context.slots), async ({ digest, size }) => {
    const there = await target.exists({ mediaType: 'application/octet-stream', digest, size });
    if (!there) missing.push(`${place.registry}/${place.repository}@${digest}`);
  });
  return missing;
}
