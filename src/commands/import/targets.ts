import type { ImageItem } from '../../bundle/records/inventory.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import type { Receipt } from '../../bundle/records/receipt.ts';
import type { ObjectStore } from '../../core/ports.ts';
import { wantedOf } from '../../oci/reference.ts';
import { resolved } from '../../oci/side.ts';
import type { Context } from '../context.ts';
import { openRepository } from '../places/endpoint.ts';
import { openObjects, viewObjects } from '../places/objects.ts';
import { openBesides } from './besides.ts';
import { chartsOf, placeCharts } from './charts.ts';
import { type PlacedImage, placeImages, refuseMeeting } from './images.ts';
import { placeModels } from './model-images.ts';
import { type HubLayout, keysOf } from './models.ts';
import type { ObjectKeys } from './object-keys.ts';
import { type ImportOptions, ofRelease } from './options.ts';
import { type ImportWork, type Shard, shardName, shareOf } from './shard.ts';
import { TargetState } from './state.ts';

/** Where an import goes, and what goes there. */
export interface ImportTargets {
  /** Of the store that takes models as objects, if one does. */
  state: TargetState | undefined;
  layout: HubLayout;
  /** The keys of all objects of models, whoever brings them. */
  keys: ObjectKeys;
  work: ImportWork;
}

/**
 * Opens what the options name, and looks at it; of several machines each gets its share of the work.
 * @throws E_USAGE, E_MANIFEST, E_CORRUPT, and what the targets throw
 */
export async function openTargets(
  reader: BundleReader,
  options: ImportOptions,
  shard: Shard | undefined,
  context: Context,
): Promise<ImportTargets> {
  const { layout = 'sie' } = options;
  const { images, charts } = await placeAll(reader, options);
  const models = options.models === undefined ? undefined : ofRelease(options.models, options.release);
  const modelImages = await placeModels(models, options, reader, context);
  const open = (url: string): Promise<ObjectStore> =>
    options.dryRun ? viewObjects(context, url) : openObjects(context, url, shard && shardName(shard));
  const store = models === undefined || modelImages ? undefined : await open(models);
  await tryRegistries([...images, ...(modelImages?.models ?? [])], context);
  const keys = keysOf(reader, layout);
  const state = store && (await TargetState.open(store, keys.looks, options.verify));
  const all: ImportWork = { images, modelImages, besides: await openBesides(reader, charts, options, open) };
  return { state, layout, keys, work: shard ? shareOf(shard, reader, store && layout, all) : all };
}

/** The targets by the names that a receipt has for them. */
export function namesOf({ state, work }: ImportTargets, { images, charts }: ImportOptions): Receipt['targets'] {
  const { modelImages, besides } = work;
  return {
    ...(state ? { models: state.store.name } : {}),
    ...(modelImages ? { models: `oci://${modelImages.place}` } : {}),
    ...(images === undefined ? {} : { images }),
    ...(charts === undefined ? {} : { charts: besides.charts?.state.store.name ?? charts }),
    ...(besides.files ? { files: besides.files.state.store.name } : {}),
  };
}

/** Images and charts at their places in registries, and the charts that become files. @throws E_USAGE, E_MANIFEST, E_CORRUPT */
async function placeAll(
  reader: BundleReader,
  { images, charts }: ImportOptions,
): Promise<{ images: PlacedImage[]; charts: ImageItem[] }> {
  const apart = charts === undefined ? [] : await chartsOf(reader);
  const others = reader.inventory.items.filter((item) => item.kind === 'image' && !apart.includes(item)) as ImageItem[];
  const inRegistry = charts?.startsWith('oci://') === true ? placeCharts(apart, charts) : [];
  const placed = [...(images === undefined ? [] : placeImages(others, images)), ...inRegistry];
  refuseMeeting(placed);
  return { images: placed, charts: inRegistry.length > 0 ? [] : apart };
}

/** One request to each, so that what is wrong with a target is said once and before anything moves. */
async function tryRegistries(images: readonly Pick<PlacedImage, 'target'>[], context: Context): Promise<void> {
  const firsts = new Map(images.toReversed().map((image) => [image.target.registry, image.target]));
  for (const first of firsts.values()) {
    const wanted = wantedOf(first);
    const { target } = await openRepository(context, first, wanted);
    await resolved(target, wanted);
  }
}
