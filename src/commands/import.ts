import { join } from 'node:path';
import { type BundleItem, bundleFiles, type Inventory } from '../bundle/records/inventory.ts';
import { BundleReader } from '../bundle/reader.ts';
import { type NewReceipt, type Receipt, startReceipt } from '../bundle/records/receipt.ts';
import type { Digest } from '../core/digest.ts';
import type { Report } from '../core/report.ts';
import { ensureWritable } from '../fs/atomic.ts';
import type { Context } from './context.ts';
import { checkBase } from './import/base.ts';
import { hasFiles, importBesides, planBesides } from './import/besides.ts';
import { chartsOf } from './import/charts.ts';
import { type EndedImport, endShard, endWhole } from './import/end.ts';
import { importImages } from './import/images.ts';
import { MediaToCome } from './import/media.ts';
import { importModelImages, planModelImages } from './import/model-images.ts';
import { importModels } from './import/models.ts';
import { checkOptions, checkTaken, type ImportOptions } from './import/options.ts';
import { planImport } from './import/plan.ts';
import { carryOver } from './import/receipt.ts';
import type { ImportRun } from './import/run.ts';
import { joinParts, parseShard, type Shard, shardName } from './import/shard.ts';
import type { Surplus, TargetState } from './import/state.ts';
import { summarise } from './import/summary.ts';
import { describeSurplus, findSurplus, nameSurplus, tidy } from './import/surplus.ts';
import { type ImportTargets, namesOf, openTargets } from './import/targets.ts';
import { openHere } from './records/sealed.ts';
import { openSigning, type SigningKey } from './records/signing.ts';

/** An import of which everything is known, and nothing is written yet. */
interface OpenImport extends ImportTargets {
  reader: BundleReader;
  /** The bundle, as a receipt names it. */
  bundle: Receipt['bundle'];
  signing: SigningKey | undefined;
  shard: Shard | undefined;
  /** What lies in the target of the models and disturbs, or is of an import before. */
  surplus: Surplus[];
  /** Keys of the parts of the receipt that shards have left. */
  parts: string[];
}

/**
 * A bundle into the zone: read straight from the volumes, verified while it moves, visible only when right.
 * @throws E_USAGE, E_MANIFEST, E_SIGNATURE, E_CORRUPT, E_BASE_MISSING and E_INCOMPLETE before anything is written, and what
 * opening the bundle and the targets throws; what is wrong with one item is a failed item of the report
 */
export async function importBundle(options: ImportOptions, context: Context): Promise<Report> {
  const opened = await openImport(options, context);
  return options.dryRun ? planAll(opened, options, context) : bring(opened, options, context);
}

async function openImport(options: ImportOptions, context: Context): Promise<OpenImport> {
  checkOptions(options);
  const signing = await openSigning(options, context);
  const { bundle, inventory } = await openHere(options.bundle, options, context);
  checkTaken(inventory, options);
  const shard = options.shard === undefined ? undefined : parseShard(options.shard, context.env);
  const reader = new BundleReader(bundle, inventory);
  const targets = await openTargets(reader, options, shard, context);
  const { state, keys, layout, work } = targets;
  await checkBase(reader, state, layout, work.images, context);
  const surplus = state && !shard ? await findSurplus(reader, keys, state, layout, options) : [];
  nameSurplus(surplus, options, context);
  const own = `sha256:${bundle.sums.get(bundleFiles.inventory) ?? ''}` as Digest;
  const named = { name: inventory.name, inventory: own, signedBy: bundle.signers[0]?.fingerprint };
  if (state) warnOfReaders(state, own, inventory, options, context);
  const parts = state && options.finish ? joinParts(state, named) : [];
  return { ...targets, reader, bundle: named, signing, shard, surplus, parts };
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

async function planAll(opened: OpenImport, options: ImportOptions, context: Context): Promise<Report> {
  const { reader, state, layout, work, surplus } = opened;
  const inRegistry = work.modelImages ? await planModelImages(work.modelImages, context) : [];
  const others = [...inRegistry, ...(await planBesides(reader, work.besides))];
  const { keys, images } = work;
  const plan = await planImport({ reader, state, layout, keys, images }, context, others);
  await tidy(surplus, options, plan.items, context);
  plan.summary.splice(-1, 0, ...describeSurplus(plan.items));
  return plan;
}

async function bring(opened: OpenImport, options: ImportOptions, context: Context): Promise<Report> {
  const { reader, bundle, shard, state, layout, work, signing } = opened;
  const { modelImages } = work;
  const part = shard ? `part-${shardName(shard)}.` : '';
  const receiptPath = context.path(options.receipt ?? `${bundle.name}.${part}receipt.json`);
  await ensureWritable(join(receiptPath, '..'));
  const receipt = startReceipt(bundle, namesOf(opened, options));
  if (!shard) await carryOver(receipt, receiptPath);
  const run: ImportRun = { reader, items: [], receipt, media: new MediaToCome(), context };
  if (state) await importModels(run, state, layout, work.keys);
  if (modelImages) await importModelImages(run, modelImages);
  await importImages(run, work.images, options.verify === true);
  await importBesides(run, work.besides);
  const ended: EndedImport = { state, modelImages, items: run.items, receipt, receiptPath, signing };
  return shard ? endShard(shard, ended, context) : finish(run, ended, opened, options);
}

/** Takes away what may go, leaves the receipt, and says what has come of it. */
async function finish(run: ImportRun, ended: EndedImport, opened: OpenImport, options: ImportOptions): Promise<Report> {
  const { items, receipt, context } = run;
  receipt.complete = await isComplete(run);
  const isPruned = options.prune === true && receipt.complete;
  await tidy(opened.surplus, { ...options, prune: isPruned }, items, context);
  const left = new Set(items.flatMap(({ kind, name, state }) => (kind === 'former' && state !== 'done' ? name : [])));
  await endWhole(ended, (key) => opened.keys.has(key) || (isPruned && !left.has(key)), opened.parts, context);
  return summarise(run, ended.receiptPath);
}

/** Whether all is there that the targets of the receipt take. */
async function isComplete({ reader, receipt }: ImportRun): Promise<boolean> {
  const isChart = new Set<BundleItem>(await chartsOf(reader));
  return (
    reader.inventory.items.every((item) => isReceived(item, receipt, isChart.has(item))) && hasFiles(reader, receipt)
  );
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
