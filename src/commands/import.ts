import { join } from 'node:path';
import { bundleFiles, type HeldBlob, type ImageItem, type Inventory, type ModelItem } from '../bundle/inventory.ts';
import { BundleReader } from '../bundle/reader.ts';
import { type Digest, isDigest, sha256 } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { forEachBySize, forEachLimited, requestsAtOnce } from '../core/limit.ts';
import type { Content, ObjectStore } from '../core/ports.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { contentOf, counted } from '../core/stream.ts';
import { formatBytes, plural } from '../core/text.ts';
import { ensureWritable, writeFileAtomic } from '../fs/atomic.ts';
import { repoFolder } from '../hub/cache.ts';
import { defaultPlacement, refuseCollisions } from '../manifest/placement.ts';
import { copyImage } from '../oci/copy-graph.ts';
import { descriptorsOf, type ImageGraph, readImage } from '../oci/graph.ts';
import { OciLayout } from '../oci/layout.ts';
import { splitName } from '../oci/layout-index.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import { resolved } from '../oci/side.ts';
import { attempt } from './attempt.ts';
import { nameOf } from './bundle-item.ts';
import type { Context } from './context.ts';
import { openRepository } from './endpoint.ts';
import { openObjects } from './objects.ts';
import { formatReceipt, readReceipt, type Receipt, receiptPrefix, startReceipt } from '../bundle/receipt.ts';
import { openWhole, type TrustOptions } from './sealed.ts';

export interface ImportOptions extends TrustOptions {
  bundle: string;
  /** `s3://BUCKET/PREFIX` or `file://DIR`. */
  models?: string | undefined;
  /** `HOST[/PREFIX]` */
  images?: string | undefined;
  /** Path of the receipt; beside the working directory when not given. */
  receipt?: string | undefined;
}

/** A bundle into the zone: read straight from the volumes, verified while it moves, visible only when right. */
export async function importBundle(options: ImportOptions, context: Context): Promise<Report> {
  checkPlace(options);
  const { bundle, inventory } = await openWhole(options.bundle, options, context);
  checkTargets(inventory, options);
  const images = options.images === undefined ? [] : placeImages(inventory, options.images);
  const store = options.models === undefined ? undefined : await openObjects(context, options.models);
  await tryTargets(store, images, context);
  const receiptPath = context.path(options.receipt ?? `${inventory.name}.receipt.json`);
  await ensureWritable(join(receiptPath, '..'));
  const origin = {
    name: inventory.name,
    inventory: `sha256:${bundle.sums.get(bundleFiles.inventory) ?? ''}` as Digest,
    signedBy: bundle.signers[0]?.fingerprint,
  };
  const receipt = startReceipt(origin, {
    ...(store ? { models: store.name } : {}),
    ...(options.images === undefined ? {} : { images: options.images }),
  });
  await carryOver(receipt, receiptPath);
  const items: ReportItem[] = [];
  const reader = new BundleReader(bundle.directory, inventory);
  await checkBase(reader, store, images, context);
  if (store) await importModels(reader, store, items, receipt, context);
  await importImages(reader, images, items, receipt, context);
  receipt.complete = items.every(({ state }) => state !== 'failed');
  // The file first: a store that takes nothing must not cost the record of what it refused.
  await writeFileAtomic(receiptPath, formatReceipt(receipt));
  if (store)
    await attempt(items, 'receipt', store.name, () =>
      putReceipt(store, inventory.name, formatReceipt(receipt), context.signal),
    );
  return summarise(items, receipt, receiptPath, inventory);
}

/** @throws E_USAGE */
function checkPlace({ images, models }: ImportOptions): void {
  if (images === undefined && models === undefined)
    throw new MirrorError('E_USAGE', 'no target was given', {
      hint: 'add `--models s3://BUCKET/PREFIX`, `--images REGISTRY/PREFIX`, or both',
    });
  if (images === undefined) return;
  if (images.includes('://'))
    throw new MirrorError('E_USAGE', `\`--images ${images}\`: HOST[:PORT][/PREFIX] was wanted, without a scheme`);
  parseReference(`${images}/x`);
}

/** One request to each target, so that what is wrong with a target is said once and before anything moves. */
async function tryTargets(
  store: ObjectStore | undefined,
  images: readonly PlacedImage[],
  context: Context,
): Promise<void> {
  const [first] = images;
  if (first) {
    const { target } = await openRepository(context, first.target, first.reference);
    await resolved(target, first.reference);
  }
  for await (const _ of store?.list(`${receiptPrefix}/`) ?? []) break;
}

function checkTargets({ items }: Inventory, options: ImportOptions): void {
  const lacks = (kind: string, flag: string): MirrorError =>
    new MirrorError('E_USAGE', `the bundle holds ${kind} and no target for them was given`, { hint: `add ${flag}` });
  if (options.models !== undefined && options.images === undefined && items.every(({ kind }) => kind === 'image'))
    throw lacks('images', '`--images REGISTRY/PREFIX`');
  if (options.images !== undefined && options.models === undefined && items.every(({ kind }) => kind === 'model'))
    throw lacks('models', '`--models s3://BUCKET/PREFIX`');
}

/** An import of the models must not make the record forget the images that an earlier one brought, and the other way round. */
async function carryOver(receipt: Receipt, path: string): Promise<void> {
  const before = await readReceipt(path);
  if (!before || before.bundle.inventory !== receipt.bundle.inventory) return;
  if (receipt.targets.models === undefined && before.targets.models !== undefined) {
    receipt.targets.models = before.targets.models;
    receipt.models.push(...before.models);
  }
  if (receipt.targets.images === undefined && before.targets.images !== undefined) {
    receipt.targets.images = before.targets.images;
    receipt.images.push(...before.images);
  }
}

/** One object of a model, in the order in which it becomes visible: content, the list of files, refs. */
interface ModelObject {
  key: string;
  digest: Digest;
  size: number;
  /** In the bundle; or where the base of a delta put the same bytes. */
  from: Content | { key: string };
}

function objectsOf(item: ModelItem, reader: BundleReader): ModelObject[][] {
  const folder = repoFolder(item.repo);
  const held = new Map((reader.inventory.base?.held ?? []).map(({ digest, key }) => [digest, key]));
  const stored = (key: string, { digest, size }: { digest: Digest; size: number }): ModelObject => {
    const old = reader.has(digest) ? undefined : held.get(digest);
    return { key: `${folder}/${key}`, digest, size, from: old === undefined ? reader.blob(digest) : { key: old } };
  };
  const commit = Buffer.from(item.commit);
  const ref = (name: string): ModelObject => ({
    key: `${folder}/refs/${name}`,
    digest: sha256(commit),
    size: commit.length,
    from: contentOf(commit),
  });
  const files = item.files.map((file) => stored(`snapshots/${item.commit}/${file.path}`, file));
  return [files, [stored(`trees/${item.commit}.json`, item.tree)], item.refs.map(ref)];
}

async function importModels(
  reader: BundleReader,
  store: ObjectStore,
  items: ReportItem[],
  receipt: Receipt,
  context: Context,
): Promise<void> {
  const models = reader.inventory.items.filter((item) => item.kind === 'model');
  for (const item of models) {
    const name = nameOf(item);
    context.report({ type: 'stage', text: `importing ${name} to ${store.name}` });
    await attempt(items, 'model', name, async () => {
      const stages = objectsOf(item, reader);
      context.report({ type: 'total', bytes: stages.flat().reduce((sum, { size }) => sum + size, 0) });
      let moved = 0;
      for (const stage of stages) moved += await putObjects(stage, store, context);
      receipt.models.push({
        repo: item.repo,
        commit: item.commit,
        objects: stages.flat().map(({ key, digest, size }) => ({ key, digest, size })),
      });
      const state = moved === 0 ? 'present' : 'done';
      context.report({ type: 'item', item: name, state, bytes: moved });
      items.push({
        kind: 'model',
        name,
        state,
        bytes: moved,
        detail: { target: `${store.name}/${repoFolder(item.repo)}` },
      });
    });
  }
}

async function holds(
  store: ObjectStore,
  { key, digest, size }: Pick<ModelObject, 'key' | 'digest' | 'size'>,
): Promise<boolean> {
  const there = await store.head(key);
  return there?.size === size && there.digest === digest;
}

/**
 * What a delta builds on has to be in the zone before anything is written there.
 * @throws E_BASE_MISSING
 */
async function checkBase(
  reader: BundleReader,
  store: ObjectStore | undefined,
  images: readonly PlacedImage[],
  context: Context,
): Promise<void> {
  const { base, items } = reader.inventory;
  if (!base) return;
  context.report({ type: 'stage', text: `looking for what \`${base.name}\` brought` });
  const missing: string[] = [];
  const models = store ? items.filter((item) => item.kind === 'model') : [];
  const objects = models.flatMap((item) => objectsOf(item, reader).flat());
  await forEachLimited(objects, requestsAtOnce(context.slots), async (object) => {
    if (!store || !('key' in object.from)) return;
    if ((await holds(store, { ...object, key: object.from.key })) || (await holds(store, object))) return;
    missing.push(`${store.name}/${object.from.key}`);
  });
  for (const image of images) missing.push(...(await missingBlobs(image, base.held, context)));
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

/** Puts what is not there yet. @returns the bytes that moved */
async function putObjects(objects: readonly ModelObject[], store: ObjectStore, context: Context): Promise<number> {
  let moved = 0;
  const count = (bytes: number): void => context.report({ type: 'bytes', bytes });
  await forEachBySize(objects, context.slots, async (object) => {
    const { key, digest, size, from } = object;
    context.signal.throwIfAborted();
    if (await holds(store, object)) {
      count(size);
      return;
    }
    if ('key' in from) {
      await store.copy(from.key, key, size, context.signal);
      count(size);
      return;
    }
    await store.put(key, counted(from, count), { digest, size }, context.signal);
    moved += size;
  });
  return moved;
}

/** An image of the bundle and where it goes. */
interface PlacedImage {
  item: ImageItem;
  repository: string;
  target: Reference;
  reference: string;
}

/** Decided before anything moves. @throws E_CORRUPT for a place that no registry has, E_MANIFEST for two images in one place */
function placeImages(inventory: Inventory, place: string): PlacedImage[] {
  const placed = inventory.items
    .filter((item) => item.kind === 'image')
    .map((item): PlacedImage => {
      const { repository, reference } = splitName(item.reference);
      const to = item.to ?? defaultPlacement(repository === '' ? 'images' : repository);
      return { item, repository, target: readPlace(`${place}/${to}`, reference, item), reference };
    });
  refuseCollisions(
    placed.map(({ item, target, reference }) => ({
      reference: item.reference,
      to: target.repository,
      tag: reference,
      digest: item.root.digest,
    })),
  );
  return placed;
}

function readPlace(repository: string, reference: string, item: ImageItem): Reference {
  try {
    return parseReference(`${repository}${isDigest(reference) ? '@' : ':'}${reference}`);
  } catch (error) {
    throw new MirrorError(
      'E_CORRUPT',
      `the bundle wants \`${item.reference}\` imported as \`${repository}\`, which is no place in a registry`,
      { at: { side: 'source', item: item.reference }, cause: error },
    );
  }
}

async function importImages(
  reader: BundleReader,
  images: readonly PlacedImage[],
  items: ReportItem[],
  receipt: Receipt,
  context: Context,
): Promise<void> {
  const layout = new OciLayout(reader.tree('oci'), reader.inventory.name);
  for (const image of images) {
    context.report({
      type: 'stage',
      text: `importing ${image.item.reference} to ${image.target.registry}/${image.target.repository}`,
    });
    await attempt(items, 'image', image.item.reference, () => importImage(image, layout, items, receipt, context));
  }
}

async function importImage(
  { item, repository, target: place, reference }: PlacedImage,
  layout: OciLayout,
  items: ReportItem[],
  receipt: Receipt,
  context: Context,
): Promise<void> {
  const target = await openRepository(context, place, reference);
  const source = layout.view(repository);
  const image = await readImage(source, item.root, { slots: context.slots, referrers: true, signal: context.signal });
  checkWhole(item, image);
  const tally = await copyImage(source, target.target, image, reference, context);
  receipt.images.push({
    reference: item.reference,
    target: target.name,
    digest: item.root.digest,
    digests: item.digests,
  });
  const state = tally.copied === 0 ? 'present' : 'done';
  context.report({ type: 'item', item: item.reference, state, bytes: tally.copiedBytes });
  const detail = { target: target.name, ...tally };
  items.push({
    kind: 'image',
    name: item.reference,
    state,
    digest: item.root.digest,
    bytes: tally.copiedBytes,
    detail,
  });
}

/** What is going to move has to be what the inventory, and so the signature, speaks of. @throws E_CORRUPT */
function checkWhole(item: ImageItem, image: ImageGraph): void {
  const moved = new Set(descriptorsOf(image).map(({ digest }) => digest));
  const lacking = item.digests.find((digest) => !moved.has(digest));
  if (lacking !== undefined || moved.size !== new Set(item.digests).size)
    throw new MirrorError(
      'E_CORRUPT',
      `\`${item.reference}\` in the volumes is not what the inventory says${lacking === undefined ? '' : `: \`${lacking}\` is missing`}`,
      {
        hint: 'run `sie-mirror verify` and copy the bundle again',
        at: { side: 'source', item: item.reference },
      },
    );
}

async function putReceipt(store: ObjectStore, name: string, text: string, signal: AbortSignal): Promise<void> {
  const bytes = Buffer.from(text);
  await store.put(
    `${receiptPrefix}/${name}.receipt.json`,
    contentOf(bytes),
    { digest: sha256(bytes), size: bytes.length },
    signal,
  );
}

function summarise(items: ReportItem[], receipt: Receipt, receiptPath: string, inventory: Inventory): Report {
  const good = items.filter(({ state }) => state !== 'failed');
  const bytes = good.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
  const summary = good.map(
    ({ name, state, bytes: moved = 0, detail }) =>
      `${name} -> ${String(detail?.['target'])}  ${state === 'present' ? 'was there already' : formatBytes(moved)}`,
  );
  const counts = `${plural(receipt.models.length, 'model')}, ${plural(receipt.images.length, 'image')}, ${formatBytes(bytes)} moved`;
  const left = inventory.items.filter(
    ({ kind }) => (kind === 'model' ? receipt.targets.models : receipt.targets.images) === undefined,
  );
  if (left.length > 0) summary.push(`not imported, as no target was given for them: ${left.map(nameOf).join(', ')}`);
  if (receipt.complete && receipt.targets.models !== undefined)
    summary.push(
      `for SIE, point workers.common.clusterCache.url at ${receipt.targets.models} and ask the cluster with \`sie-mirror smoke\``,
    );
  summary.push(
    receipt.complete
      ? `imported: ${counts}; receipt: ${receiptPath}`
      : `INCOMPLETE: ${counts}; mend what is said above and run the same command again, what has arrived is kept; receipt: ${receiptPath}`,
  );
  return makeReport('import', items, { models: receipt.models.length, images: receipt.images.length, bytes }, summary);
}
