import { join } from 'node:path';
import { startReceipt } from '../../bundle/records/receipt.ts';
import { MirrorError } from '../../core/errors.ts';
import type { Report } from '../../core/report.ts';
import { ensureWritable } from '../../fs/atomic.ts';
import type { Context } from '../context.ts';
import { endWhole } from './end.ts';
import { MediaToCome } from './media.ts';
import { importModelImages, placeModels, planModelImages } from './model-images.ts';
import { importModels, keysOf } from './models.ts';
import { type ImportOptions, ofRelease } from './options.ts';
import type { ModelSource } from './placed-object.ts';
import { planImport } from './plan.ts';
import type { ImportRun } from './run.ts';
import { TargetState } from './state.ts';
import { summarise } from './summary.ts';
import { readLocalModel } from './local-model.ts';
import { openObjects, viewObjects } from '../places/objects.ts';
import { openSigning } from '../records/signing.ts';

export interface ImportLocalOptions extends Omit<ImportOptions, 'bundle' | 'shard' | 'finish' | 'prune' | 'repair'> {
  /** A file or a directory. */
  path: string;
  /** `ORG/NAME` or `NAME`: what the model is called in the zone. */
  as: string | undefined;
  /** Of the one file, in hex; computed when not given. */
  sha256?: string | undefined;
}

/**
 * A single file or a directory of this machine into the zone, as a model that came from no hub; with a receipt.
 * @throws E_USAGE, E_NOT_FOUND, and what importing a bundle throws
 */
export async function importLocal(options: ImportLocalOptions, context: Context): Promise<Report> {
  const { models, as, layout = 'plain' } = options;
  if (as === undefined) throw new MirrorError('E_USAGE', '`--sha256` goes with `--as`', { hint: 'add `--as NAME`' });
  if (models === undefined || hasMore(options))
    throw new MirrorError('E_USAGE', 'with `--as` a model is imported, and nothing but `--models` says where', {
      hint: 'add `--models s3://BUCKET/PREFIX`; `sie-mirror copy` brings images',
    });
  const { source, item, identity } = await readLocalModel(options.path, as, options.sha256, context);
  const { name } = source.inventory;
  const signing = await openSigning(options, context);
  const place = ofRelease(models, options.release);
  const open = options.dryRun ? viewObjects : openObjects;
  const images = await placeModels(place, options, source, context);
  const state = images
    ? undefined
    : await TargetState.open(await open(context, place), keysOf(source, layout).looks, options.verify);
  if (options.dryRun) {
    const inRegistry = images ? await planModelImages(images, context) : [];
    return planImport({ reader: source, state, layout }, context, inRegistry);
  }
  const receiptPath = context.path(options.receipt ?? `${name}.receipt.json`);
  await ensureWritable(join(receiptPath, '..'));
  const receipt = startReceipt({ name, inventory: identity }, { models: state?.store.name ?? place });
  const run: ImportRun<ModelSource> = { reader: source, items: [], receipt, media: new MediaToCome(), context };
  if (state) await importModels(run, state, layout);
  if (images) await importModelImages(run, images);
  receipt.complete = receipt.models.length > 0;
  const kept = new Set(receipt.models.flatMap(({ objects }) => objects.map(({ key }) => key)));
  const ended = { state, modelImages: images, items: run.items, receipt, receiptPath, signing };
  await endWhole(ended, (key) => kept.has(key), [], context);
  const report = summarise(run, receiptPath);
  const hashes = item.files.map(({ path, digest }) => `${digest}  ${path}`);
  return { ...report, summary: [...(receipt.complete ? hashes : []), ...report.summary] };
}

/** What only bundles have: images, signatures, several media. */
function hasMore({ images, charts, files, keys, from = [] }: ImportLocalOptions): boolean {
  return [images, charts, files, keys].some((given) => given !== undefined) || from.length > 0;
}
