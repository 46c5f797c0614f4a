import type { ImageItem } from '../../bundle/records/inventory.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import { type NewReceipt, receiptPrefix } from '../../bundle/records/receipt.ts';
import { totalSize } from '../../core/descriptor.ts';
import { MirrorError } from '../../core/errors.ts';
import { plural } from '../../core/text.ts';
import type { Reference } from '../../oci/reference.ts';
import type { Besides } from './besides.ts';
import type { PlacedImage } from './images.ts';
import type { ModelImages } from './model-images.ts';
import { type HubLayout, objectsOf } from './models.ts';
import type { TargetState } from './state.ts';

/** One of several machines that share an import. */
export interface Shard {
  /** Counts from 0. */
  index: number;
  of: number;
}

/** What the targets of an import take. */
export interface ImportWork {
  images: PlacedImage[];
  modelImages: ModelImages | undefined;
  besides: Besides;
  /** Of the objects of models that a shard brings; lists of files and refs are nobody's: they come when all shards are done. */
  keys?: ReadonlySet<string>;
}

/**
 * @param text `I/N`, with I from 0 to N-1; or `N`, with I in JOB_COMPLETION_INDEX, as an indexed Job sets it:
 * https://kubernetes.io/docs/tasks/job/indexed-parallel-processing-static/
 * @throws E_USAGE
 */
export function parseShard(text: string, env: Record<string, string | undefined>): Shard {
  const [, given, total = ''] = /^(?:(\d{1,5})\/)?(\d{1,5})$/.exec(text) ?? [];
  const index = given ?? env['JOB_COMPLETION_INDEX'];
  const shard = { index: Number(index ?? Number.NaN), of: Number(total) };
  if (Number.isInteger(shard.index) && shard.index >= 0 && shard.index < shard.of) return shard;
  const isAlone = index === undefined && total !== '';
  throw new MirrorError(
    'E_USAGE',
    isAlone
      ? `\`--shard ${text}\` leaves the index to JOB_COMPLETION_INDEX, which is not set`
      : `\`--shard ${text}\`${given === undefined && index !== undefined ? ` with JOB_COMPLETION_INDEX=${index}` : ''}: I/N was wanted, with I from 0 to N-1`,
    { hint: 'write the first of four as `--shard 0/4`, or `--shard 4` in an indexed Job' },
  );
}

/** `0-of-4`: part of the names of what a shard writes. */
export function shardName({ index, of }: Shard): string {
  return `${index}-of-${of}`;
}

/** Where a shard leaves its part of the receipt, below the target of the models. */
export function partKey(bundle: NewReceipt['bundle'], shard: Shard): string {
  return `${partsPrefix(bundle)}${shardName(shard)}.receipt.json`;
}

function partsPrefix({ name, inventory }: NewReceipt['bundle']): string {
  return `${receiptPrefix}/parts/${name}.${inventory.slice('sha256:'.length, 19)}.`;
}

/** What can only be moved together, and its size. */
interface Piece {
  name: string;
  size: number;
}

/**
 * The same for each machine, with nothing said between them: the largest piece to who has least. A piece is an object of a
 * model, a model that becomes an image, a file, a chart, or all images of one repository, as they share layers there.
 * @param layout of objects of models; undefined when no store takes any
 */
export function shareOf(
  { index, of }: Shard,
  reader: BundleReader,
  layout: HubLayout | undefined,
  { images, modelImages, besides }: ImportWork,
): ImportWork {
  const sizes = new Map(
    [...reader.inventory.blobs, ...(reader.inventory.base?.held ?? [])].map(({ digest, size }) => [digest, size]),
  );
  const sizeOf = ({ digests }: ImageItem): number => digests.reduce((sum, digest) => sum + (sizes.get(digest) ?? 0), 0);
  const { charts, files } = besides;
  const models = reader.inventory.items.filter((item) => item.kind === 'model');
  const pieces = new Map<string, Piece>();
  const add = (name: string, size: number): void => {
    pieces.set(name, { name, size: size + (pieces.get(name)?.size ?? 0) });
  };
  if (layout)
    for (const item of models) for (const { key, size } of objectsOf(item, reader, layout)[0] ?? []) add(key, size);
  for (const image of images) add(placeOf(image), sizeOf(image.item));
  for (const model of modelImages?.models ?? []) add(placeOf(model), totalSize(model.item.files));
  for (const { key, size } of files?.objects ?? []) add(fileName(key), size);
  for (const item of charts?.items ?? []) add(chartName(item), sizeOf(item));
  const mine = new Set(sharesOf([...pieces.values()], of)[index]);
  return {
    keys: mine,
    images: images.filter((image) => mine.has(placeOf(image))),
    modelImages: modelImages && {
      ...modelImages,
      models: modelImages.models.filter((model) => mine.has(placeOf(model))),
    },
    besides: {
      files: files && { ...files, objects: files.objects.filter(({ key }) => mine.has(fileName(key))) },
      charts: charts && { ...charts, items: charts.items.filter((item) => mine.has(chartName(item))) },
    },
  };
}

// No key of an object looks like one of these.
const placeOf = ({ target }: { target: Reference }): string => `//${target.registry}/${target.repository}`;
const fileName = (key: string): string => `/file/${key}`;
const chartName = ({ reference }: ImageItem): string => `/chart/${reference}`;

function sharesOf(pieces: readonly Piece[], count: number): string[][] {
  const shares = Array.from({ length: count }, () => ({ names: [] as string[], bytes: 0 }));
  const largestFirst = [...pieces].sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
  for (const { name, size } of largestFirst) {
    const least = shares.reduce((best, each) => (each.bytes < best.bytes ? each : best));
    least.names.push(name);
    // What is empty is work too.
    least.bytes += size + 1;
  }
  return shares.map(({ names }) => names);
}

/**
 * All shards have to be done before what they brought is made visible.
 * @returns keys of the parts of the receipt
 * @throws E_INCOMPLETE naming those that are not
 */
export function joinParts({ receipts, store }: TargetState, bundle: NewReceipt['bundle']): string[] {
  const prefix = partsPrefix(bundle);
  const parts = new Map<string, NewReceipt>();
  for (const [key, { receipt }] of receipts) if (receipt?.shard && key.startsWith(prefix)) parts.set(key, receipt);
  const counts = [...new Set([...parts.values()].map(({ shard }) => shard?.of ?? 0))].sort((a, b) => b - a);
  const lacking = counts.map((of) => {
    const done = new Set(
      [...parts.values()].flatMap(({ shard }) => (shard?.of === of && shard.done ? shard.index : [])),
    );
    return { of, indices: Array.from({ length: of }, (_, index) => index).filter((index) => !done.has(index)) };
  });
  if (lacking.some(({ indices }) => indices.length === 0)) return [...parts.keys()];
  const [most] = lacking;
  throw new MirrorError(
    'E_INCOMPLETE',
    most
      ? `${plural(most.indices.length, 'shard')} of ${most.of} ${most.indices.length === 1 ? 'is' : 'are'} not done: ${most.indices.map((index) => `\`${index}/${most.of}\``).join(', ')}`
      : `no shard of \`${bundle.name}\` has been imported to \`${store.name}\``,
    {
      hint: most
        ? `run \`sie-mirror import\` with \`--shard ${most.indices[0]}/${most.of}\` and the same targets again`
        : 'run each `--shard I/N` first, with the same targets',
      at: { side: 'target', item: store.name },
    },
  );
}
