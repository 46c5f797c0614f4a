import { join } from 'node:path';
import { type BundleItem, bundleFiles, type Inventory } from '../bundle/inventory.ts';
import { BundleReader } from '../bundle/reader.ts';
import { type Receipt, startReceipt } from '../bundle/receipt.ts';
import type { Digest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { ensureWritable } from '../fs/atomic.ts';
import { parseReference } from '../oci/reference.ts';
import { resolved } from '../oci/side.ts';
import { nameOf } from './bundle-item.ts';
import type { Context } from './context.ts';
import { openRepository } from './endpoint.ts';
import { checkBase } from './import-base.ts';
import { importImages, type PlacedImage, placeImages } from './import-images.ts';
import { MediaToCome } from './import-media.ts';
import { type HubLayout, importModels } from './import-models.ts';
import { planImport } from './import-plan.ts';
import { keysOf } from './import-former.ts';
import { endShard, endWhole } from './import-end.ts';
import { carryOver } from './import-receipt.ts';
import { joinParts, parseShard, shardName, shareOf } from './import-shard.ts';
import { TargetState } from './import-state.ts';
import { describeSurplus, findSurplus, nameSurplus, tidy, type TidyOptions } from './import-surplus.ts';
import { openObjects, viewObjects } from './objects.ts';
import { type BundlePlace, openHere } from './sealed.ts';
import { openSigning, type SigningOptions } from './signing.ts';

export interface ImportOptions extends BundlePlace, TidyOptions, SigningOptions {
  bundle: string;
  /** `s3://BUCKET/PREFIX` or `file://DIR`. */
  models?: string | undefined;
  /** `HOST[/PREFIX]` */
  images?: string | undefined;
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
  const allImages = options.images === undefined ? [] : placeImages(inventory, options.images);
  const name = shard && shardName(shard);
  const open = options.dryRun ? viewObjects : openObjects;
  const store =
    options.models === undefined ? undefined : await open(context, ofRelease(options.models, options.release), name);
  await tryRegistry(allImages, context);
  const state = store && (await TargetState.open(store, options.verify));
  const reader = new BundleReader(bundle, inventory);
  const { layout = 'sie' } = options;
  const share = shard && shareOf(shard, reader, layout, allImages);
  const images = share?.images ?? allImages;
  await checkBase(reader, state, layout, images, context);
  const surplus = state && !share ? await findSurplus(reader, state, layout, options) : [];
  nameSurplus(surplus, options, context);
  const own = `sha256:${bundle.sums.get(bundleFiles.inventory) ?? ''}` as Digest;
  if (state) warnOfReaders(state, own, inventory, options, context);
  const parts = state && options.finish ? joinParts(state, inventory.name, own) : [];
  if (options.dryRun) {
    const plan = await planImport(reader, state, layout, share, images, context);
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
    ...(options.images === undefined ? {} : { images: options.images }),
  });
  if (!shard) await carryOver(receipt, receiptPath);
  const items: ReportItem[] = [];
  const media = new MediaToCome();
  if (state) await importModels(reader, state, layout, share, items, receipt, media, context);
  await importImages(reader, images, items, receipt, media, options.verify === true, context);
  const ended = { name: inventory.name, inventory: own, state, items, receipt, receiptPath, signing };
  if (shard) return endShard(shard, ended, context);
  receipt.complete = inventory.items.every((item) => isReceived(item, receipt));
  await tidy(surplus, { ...options, prune: options.prune && receipt.complete }, items, context);
  const kept = keysOf(reader, layout);
  const isPruned = options.prune === true && receipt.complete;
  const left = new Set(
    items.flatMap(({ kind, name, state: each }) => (kind === 'former' && each !== 'done' ? name : [])),
  );
  await endWhole(ended, (key) => kept.has(key) || (isPruned && !left.has(key)), parts, context);
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
function ofRelease(models: string, release: string | undefined): string {
  if (release === undefined) return models;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(release))
    throw new MirrorError('E_USAGE', `\`--release ${release}\`: letters, digits, \`.\`, \`_\` and \`-\` were wanted`);
  return `${models.replace(/\/+$/, '')}/${release}/models`;
}

/** @throws E_USAGE */
function checkPlace({ images, models, shard, finish, prune, repair }: ImportOptions): void {
  if (shard !== undefined && (finish || prune || repair))
    throw new MirrorError('E_USAGE', '`--shard` brings a part: `--finish`, `--prune` and `--repair` are for the end', {
      hint: 'run every shard first, and then once with `--finish` (and `--prune`, `--repair`)',
    });
  if (images === undefined && models === undefined)
    throw new MirrorError('E_USAGE', 'no target was given', {
      hint: 'add `--models s3://BUCKET/PREFIX`, `--images REGISTRY/PREFIX`, or both',
    });
  if (images === undefined) return;
  if (images.includes('://'))
    throw new MirrorError('E_USAGE', `\`--images ${images}\`: HOST[:PORT][/PREFIX] was wanted, without a scheme`);
  parseReference(`${images}/x`);
}

/** One request, so that what is wrong with a target is said once and before anything moves. */
async function tryRegistry([first]: readonly PlacedImage[], context: Context): Promise<void> {
  if (!first) return;
  const { target } = await openRepository(context, first.target, first.reference);
  await resolved(target, first.reference);
}

function checkTargets({ items }: Inventory, options: ImportOptions): void {
  const lacks = (kind: string, flag: string): MirrorError =>
    new MirrorError('E_USAGE', `the bundle holds ${kind} and no target for them was given`, { hint: `add ${flag}` });
  if (options.models !== undefined && options.images === undefined && items.every(({ kind }) => kind === 'image'))
    throw lacks('images', '`--images REGISTRY/PREFIX`');
  if (options.images !== undefined && options.models === undefined && items.every(({ kind }) => kind === 'model'))
    throw lacks('models', '`--models s3://BUCKET/PREFIX`');
}

/** What an earlier import to another target left undone is not done by this one. */
function isReceived(item: BundleItem, { models, images, targets }: Receipt): boolean {
  if (item.kind === 'image')
    return targets.images === undefined || images.some(({ reference }) => reference === item.reference);
  return (
    targets.models === undefined || models.some(({ repo, commit }) => repo === item.repo && commit === item.commit)
  );
}

function summarise(
  items: ReportItem[],
  receipt: Receipt,
  receiptPath: string,
  inventory: Inventory,
  media: MediaToCome,
): Report {
  const good = items.filter(({ state }) => state !== 'failed');
  const bytes = good.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
  const summary = good.map(
    ({ name, state, bytes: moved = 0, detail }) =>
      `${name} -> ${String(detail?.['target'])}  ${state === 'present' ? 'was there already' : formatBytes(moved)}`,
  );
  const counts = `${plural(receipt.models.length, 'model')}, ${plural(receipt.images.length, 'image')}, ${formatBytes(bytes)} moved`;
  summary.push(...describeSurplus(items));
  const left = inventory.items.filter(
    ({ kind }) => (kind === 'model' ? receipt.targets.models : receipt.targets.images) === undefined,
  );
  if (left.length > 0) summary.push(`not imported, as no target was given for them: ${left.map(nameOf).join(', ')}`);
  if (receipt.complete && receipt.models.some(({ objects }) => objects.some(({ key }) => key.includes('/refs/'))))
    summary.push(
      `for SIE, point workers.common.clusterCache.url at ${receipt.targets.models} and ask the cluster with \`sie-mirror smoke\``,
    );
  summary.push(
    receipt.complete
      ? `imported: ${counts}; receipt: ${receiptPath}`
      : `INCOMPLETE: ${counts}; mend what is said above and run the same command again, what has arrived is kept; receipt: ${receiptPath}`,
  );
  summary.push(...media.next());
  return makeReport('import', items, { models: receipt.models.length, images: receipt.images.length, bytes }, summary);
}
