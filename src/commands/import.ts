import { join } from 'node:path';
import { type BundleItem, bundleFiles, type ImageItem, type Inventory } from '../bundle/records/inventory.ts';
import { BundleReader } from '../bundle/reader.ts';
import { formatReceipt, type NewReceipt, startReceipt } from '../bundle/records/receipt.ts';
import type { Digest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { ObjectStore } from '../core/ports.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { clusterCacheOf } from '../doctor/names.ts';
import { ensureWritable } from '../fs/atomic.ts';
import { parseReference, wantedOf } from '../oci/reference.ts';
import { resolved } from '../oci/side.ts';
import { attempt } from './attempt.ts';
import { nameOf } from './bundle/item.ts';
import type { Context } from './context.ts';
import { openRepository } from './places/endpoint.ts';
import { checkBase } from './import/base.ts';
import { hasFiles, importBesides, openBesides, planBesides } from './import/besides.ts';
import { chartsOf, placeCharts } from './import/charts.ts';
import { importImages, type PlacedImage, placeImages, refuseMeeting } from './import/images.ts';
import { MediaToCome } from './import/media.ts';
import { type HubLayout, importModels, keysOf } from './import/models.ts';
import {
  type FormOptions,
  importModelImages,
  placeModels,
  planModelImages,
  putReceiptImage,
} from './import/model-images.ts';
import { planImport } from './import/plan.ts';
import { endShard, endWhole } from './import/end.ts';
import type { ImportRun } from './import/run.ts';
import { carryOver } from './import/receipt.ts';
import { type ImportWork, joinParts, parseShard, shardName, shareOf } from './import/shard.ts';
import { TargetState } from './import/state.ts';
import { describeSurplus, findSurplus, isSurplus, nameSurplus, tidy, type TidyOptions } from './import/surplus.ts';
import { openObjects, viewObjects } from './places/objects.ts';
import { type BundlePlace, openHere } from './records/sealed.ts';
import { openSigning, type SigningOptions } from './records/signing.ts';

export interface ImportOptions extends BundlePlace, TidyOptions, SigningOptions, FormOptions {
  bundle: string;
  /** `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `file://DIR` or `oci://HOST/PREFIX`. */
  models?: string | undefined;
  /** `HOST[/PREFIX]` */
  images?: string | undefined;
  /** `oci://HOST[/PREFIX]`, or a directory or `s3://BUCKET/PREFIX` for the `.tgz`; with the images when not given. */
  charts?: string | undefined;
  /** A directory or `s3://BUCKET/PREFIX` for single files. */
  files?: string | undefined;
  /** Path of the receipt; beside the working directory when not given. */
  receipt?: string | undefined;
  /** Below the target of the models: `PREFIX/RELEASE/models`. */
  release?: string | undefined;
  layout?: HubLayout | undefined;
  /** Bring only this machine's share: see `parseShard`. */
  shard?: string | undefined;
  /** Make visible what the shards have brought, and prove it. */
  finish?: boolean | undefined;
  /** Read what is there, and believe no receipt. */
  verify?: boolean | undefined;
}

/** A bundle into the zone: read straight from the volumes, verified while it moves, visible only when right. */
export async function importBundle(options: ImportOptions, context: Context): Promise<Report> {
  checkPlace(options);
  const signing = await openSigning(options, context);
  const { bundle, inventory } = await openHere(options.bundle, options, context);
  checkTargets(inventory, options);
  const shard = options.shard === undefined ? undefined : parseShard(options.shard, context.env);
  const reader = new BundleReader(bundle, inventory);
  const { images: allImages, charts } = await placeAll(reader, options);
  const models = options.models === undefined ? undefined : ofRelease(options.models, options.release);
  const allModelImages = await placeModels(models, options, reader, context);
  const open = (url: string): Promise<ObjectStore> =>
    options.dryRun ? viewObjects(context, url) : openObjects(context, url, shard && shardName(shard));
  const store = models === undefined || allModelImages ? undefined : await open(models);
  await tryRegistries([...allImages, ...(allModelImages?.models ?? [])], context);
  const { layout = 'sie' } = options;
  const kept = keysOf(reader, layout);
  const state = store && (await TargetState.open(store, kept.looks, options.verify));
  const all: ImportWork = {
    images: allImages,
    modelImages: allModelImages,
    besides: await openBesides(reader, charts, options, open),
  };
  const share = shard && shareOf(shard, reader, store && layout, all);
  const { images, modelImages, besides } = share ?? all;
  await checkBase(reader, state, layout, images, context);
  const surplus = state && !share ? await findSurplus(reader, kept, state, layout, options) : [];
  nameSurplus(surplus, options, context);
  const own = `sha256:${bundle.sums.get(bundleFiles.inventory) ?? ''}` as Digest;
  if (state) warnOfReaders(state, own, inventory, options, context);
  const parts = state && options.finish ? joinParts(state, inventory.name, own) : [];
  if (options.dryRun) {
    const inRegistry = modelImages ? await planModelImages(modelImages, context) : [];
    const others = [...inRegistry, ...(await planBesides(reader, besides))];
    const plan = await planImport({ reader, state, layout, share, images }, context, others);
    await tidy(surplus, options, plan.items, context);
    plan.summary.splice(-1, 0, ...describeSurplus(plan.items));
    return plan;
  }
  const receiptPath = context.path(
    options.receipt ?? `${inventory.name}.${shard ? `part-${shardName(shard)}.` : ''}receipt.json`,
  );
  await ensureWritable(join(receiptPath, '..'));
  const origin = { name: inventory.name, inventory: own, signedBy: bundle.signers[0]?.fingerprint };
  const receipt = startReceipt(origin, {
    ...(store ? { models: store.name } : {}),
    ...(modelImages ? { models: `oci://${modelImages.place}` } : {}),
    ...(options.images === undefined ? {} : { images: options.images }),
    ...(options.charts === undefined ? {} : { charts: besides.charts?.state.store.name ?? options.charts }),
    ...(besides.files ? { files: besides.files.state.store.name } : {}),
  });
  if (!shard) await carryOver(receipt, receiptPath);
  const items: ReportItem[] = [];
  const media = new MediaToCome();
  const run: ImportRun = { reader, items, receipt, media, context };
  if (state) await importModels(run, state, layout, share);
  if (modelImages) await importModelImages(run, modelImages);
  await importImages(run, images, options.verify === true);
  await importBesides(run, besides);
  const ended = { name: inventory.name, inventory: own, state, items, receipt, receiptPath, signing };
  if (shard) return endShard(shard, ended, context);
  const isChart = new Set<BundleItem>(await chartsOf(reader));
  receipt.complete =
    inventory.items.every((item) => isReceived(item, receipt, isChart.has(item))) && hasFiles(reader, receipt);
  await tidy(surplus, { ...options, prune: options.prune && receipt.complete }, items, context);
  const isPruned = options.prune === true && receipt.complete;
  const left = new Set(
    items.flatMap(({ kind, name, state: each }) => (kind === 'former' && each !== 'done' ? name : [])),
  );
  await endWhole(ended, (key) => kept.has(key) || (isPruned && !left.has(key)), parts, context);
  if (modelImages)
    await attempt(items, 'receipt', modelImages.place, () =>
      putReceiptImage(modelImages, inventory.name, formatReceipt(receipt), context),
    );
  return summarise(items, receipt, receiptPath, inventory, media);
}

/** What can be known of workers that read the place: another bundle was imported there, and releases have no places of their own. */
function warnOfReaders(
  { receipts, store }: TargetState,
  own: Digest,
  { base }: Inventory,
  { release }: ImportOptions,
  { report }: Context,
): void {
  const there = [...receipts.values()].flatMap(({ receipt }) => receipt?.bundle ?? []);
  const [other] = there;
  if (release !== undefined || !other || there.some(({ inventory }) => inventory === own)) return;
  const advice = base
    ? 'let no worker start before it is done'
    : 'give it a place of its own with `--release NAME`, and lead workers there when it is done';
  report({
    type: 'warning',
    text: `\`${store.name}\` holds what \`${other.name}\` brought: workers that read there may see half a model, and keep it; ${advice}`,
  });
}

/** A place of its own for each release: workers are moved to it by its address, when all of it is there. @throws E_USAGE */
export function ofRelease(models: string, release: string | undefined): string {
  if (release === undefined) return models;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(release))
    throw new MirrorError('E_USAGE', `\`--release ${release}\`: letters, digits, \`.\`, \`_\` and \`-\` were wanted`);
  return `${models.replace(/\/+$/, '')}/${release}/models`;
}

/** @throws E_USAGE */
function checkPlace({ images, models, charts, files, shard, finish, prune, repair }: ImportOptions): void {
  if (shard !== undefined && (finish || prune || repair))
    throw new MirrorError('E_USAGE', '`--shard` brings a part: `--finish`, `--prune` and `--repair` are for the end', {
      hint: 'run every shard first, and then once with `--finish` (and `--prune`, `--repair`)',
    });
  if ([images, models, charts, files].every((target) => target === undefined))
    throw new MirrorError('E_USAGE', 'no target was given', {
      hint: 'add `--models s3://BUCKET/PREFIX`, `--images REGISTRY/PREFIX`, `--charts`, `--files`, or several of them',
    });
  if (charts?.startsWith('oci://') === true) parseReference(`${charts.slice('oci://'.length).replace(/\/+$/, '')}/x`);
  if (images === undefined) return;
  if (images.includes('://'))
    throw new MirrorError('E_USAGE', `\`--images ${images}\`: HOST[:PORT][/PREFIX] was wanted, without a scheme`);
  parseReference(`${images}/x`);
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

function checkTargets({ items }: Inventory, options: ImportOptions): void {
  if (options.charts !== undefined || options.files !== undefined) return;
  const lacks = (kind: string, flag: string): MirrorError =>
    new MirrorError('E_USAGE', `the bundle holds ${kind} and no target for them was given`, { hint: `add ${flag}` });
  if (options.models !== undefined && options.images === undefined && items.every(({ kind }) => kind === 'image'))
    throw lacks('images', '`--images REGISTRY/PREFIX`');
  if (options.images !== undefined && options.models === undefined && items.every(({ kind }) => kind === 'model'))
    throw lacks('models', '`--models s3://BUCKET/PREFIX`');
}

/** What an earlier import to another target left undone is not done by this one. */
function isReceived(item: BundleItem, { models, images, charts = [], targets }: NewReceipt, isChart: boolean): boolean {
  if (item.kind === 'image') {
    const wanted = isChart ? (targets.charts ?? targets.images) : targets.images;
    return wanted === undefined || [...images, ...charts].some(({ reference }) => reference === item.reference);
  }
  return (
    targets.models === undefined || models.some(({ repo, commit }) => repo === item.repo && commit === item.commit)
  );
}

export function summarise(
  items: ReportItem[],
  receipt: NewReceipt,
  receiptPath: string,
  inventory: Pick<Inventory, 'items'>,
  media: MediaToCome,
): Report {
  const good = items.filter((item) => item.state !== 'failed' && !isSurplus(item));
  const bytes = good.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
  const summary = good.map(
    ({ name, state, bytes: moved = 0, detail }) =>
      `${name} -> ${String(detail?.['target'])}  ${state === 'present' ? 'was there already' : formatBytes(moved)}`,
  );
  const kinds = [
    plural(receipt.models.length, 'model'),
    plural(receipt.images.length, 'image'),
    ...(receipt.charts ? [plural(receipt.charts.length, 'chart')] : []),
    ...(receipt.files ? [plural(receipt.files.length, 'file')] : []),
  ];
  const counts = `${kinds.join(', ')}, ${formatBytes(bytes)} moved`;
  summary.push(...describeSurplus(items));
  const received = [...receipt.images, ...(receipt.charts ?? [])].map(({ reference }) => reference);
  const left = inventory.items.filter((item) =>
    item.kind === 'model'
      ? receipt.targets.models === undefined
      : receipt.targets.images === undefined && !received.includes(item.reference),
  );
  if (left.length > 0) summary.push(`not imported, as no target was given for them: ${left.map(nameOf).join(', ')}`);
  if (receipt.complete && receipt.models.some(({ objects }) => objects.find(({ key }) => key.includes('/refs/'))))
    summary.push(
      `for SIE, point workers.common.clusterCache.url at ${clusterCacheOf(receipt.targets.models ?? '')} and ask the cluster with \`sie-mirror smoke\``,
    );
  const lacking = new Set(items.filter(({ kind }) => kind === 'referrers').map(({ name }) => name)).size;
  const without = lacking === 0 ? '' : `; ${lacking} INCOMPLETE, without some of what belongs to them`;
  summary.push(
    receipt.complete
      ? `imported: ${counts}${without}; receipt: ${receiptPath}`
      : `INCOMPLETE: ${counts}; mend what is said above and run the same command again, what has arrived is kept; receipt: ${receiptPath}`,
  );
  summary.push(...media.next());
  return makeReport('import', items, { models: receipt.models.length, images: receipt.images.length, bytes }, summary);
}
