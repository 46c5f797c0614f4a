import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { failedItem, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import type { LockedImage } from '../../manifest/schema.ts';
import { abandonedMs } from '../../fs/freed.ts';
import type { ImageGraph } from '../../oci/graph.ts';
import { sweepBlobs, syncBlobs } from '../../oci/layout/blob-folders.ts';
import { attempt } from '../attempt.ts';
import type { Context } from '../context.ts';
import { withAdvice } from '../copy/advice.ts';
import { detailOf, foreignOf, leftOutItem, moveImage, wholeImage } from '../copy/image.ts';
import { openSource, openTarget } from '../places/endpoint.ts';
import { reportFreed } from '../store/freed.ts';
import { storeHashPool } from '../verify/check-store.ts';
import { StoredImages } from '../verify/layout.ts';
import type { Flaw } from '../verify/place-verdict.ts';

/** An index names manifests, those name blobs: what a damaged one names is known when it has come again. */
const maxRounds = 6;

/**
 * Copies images into the store's layout.
 * @param verify first reads every byte of what lies in the layout, and takes away what is not what its digest says, so that
 * it comes again; what no image of these brings is a failed item then
 */
export async function pullImages(
  images: readonly LockedImage[],
  items: ReportItem[],
  store: string,
  context: Context,
  verify: boolean,
): Promise<void> {
  let flaws = verify ? await dropDamaged(store, context) : [];
  await pullEach(images, items, store, context);
  for (let round = 1; round < maxRounds && flaws.length > 0; round += 1) {
    flaws = await dropDamaged(store, context);
    if (!flaws.some(isDamaged)) break;
    await pullEach(images, items, store, context);
  }
  await settle(store, context);
  const failed = new Set(items.map(({ name }) => name));
  for (const { kind, name, error } of flaws) if (!failed.has(name)) items.push(failedItem(kind, name, error));
}

/** Blobs that came anew for an index that is as it was are on the medium then, too; and what nobody goes on with is gone. */
async function settle(store: string, context: Context): Promise<void> {
  const layout = join(store, 'oci');
  await syncBlobs(layout);
  reportFreed(await sweepBlobs(layout, context.owner, abandonedMs), context);
}

async function pullEach(
  images: readonly LockedImage[],
  items: ReportItem[],
  store: string,
  context: Context,
): Promise<void> {
  for (const image of images)
    await attempt(items, 'image', image.reference, async () => {
      const { item, leftOut } = await withAdvice(async () => pullImage(image, store, context));
      const before = items.findIndex(
        ({ kind, name, state }) => kind === 'image' && name === item.name && state !== 'failed',
      );
      const former = items[before];
      if (!former) items.push(item, ...leftOut);
      else if (item.state === 'done') items[before] = { ...item, bytes: (former.bytes ?? 0) + (item.bytes ?? 0) };
    });
}

/** @returns also what belongs to the image and did not come along */
async function pullImage(
  image: LockedImage,
  store: string,
  context: Context,
): Promise<{ item: ReportItem; leftOut: ReportItem[] }> {
  context.report({ type: 'stage', text: `copying ${image.reference}` });
  const from = await openSource(context, image.reference);
  const to = await openTarget(context, `oci:${join(store, 'oci')}`, from);
  const { tally, leftOut, ...moved } = await moveImage(from.source, to, image.root, wholeImage, context);
  if (moved.image) warnOfForeign(image.reference, moved.image, context);
  const state = tally.copied === 0 ? 'present' : 'done';
  context.report({ type: 'item', item: image.reference, state, bytes: tally.copiedBytes });
  const item: ReportItem = {
    kind: 'image',
    name: image.reference,
    state,
    digest: image.root.digest,
    bytes: tally.copiedBytes,
    detail: { to: image.to, ...tally, ...detailOf(moved.image, image.root.digest, wholeImage, leftOut) },
  };
  return { item, leftOut: leftOut.map((each) => leftOutItem(from, image.reference, each)) };
}

/** What a zone cannot fetch is not in the bundle either. */
function warnOfForeign(reference: string, image: ImageGraph, { report }: Context): void {
  const { count, bytes } = foreignOf(image);
  if (count === 0) return;
  report({
    type: 'warning',
    text: `\`${reference}\` has ${plural(count, 'foreign layer')}, ${formatBytes(bytes)}, left with the owner: the zone will not have ${count === 1 ? 'it' : 'them'}; \`copy --include-foreign\` brings such images from registry to registry`,
  });
}

/** @returns what is wrong in the layout, once for each blob; what was damaged is gone now */
async function dropDamaged(store: string, context: Context): Promise<Flaw[]> {
  context.report({ type: 'stage', text: 'reading the images that are there' });
  await using pool = storeHashPool(context);
  const checked = await new StoredImages(store, pool, context).check([]);
  const flaws = new Map(checked.flatMap((image) => image.flaws).map((flaw) => [flaw.name, flaw]));
  for (const { name } of [...flaws.values()].filter(isDamaged)) {
    context.report({ type: 'warning', text: `\`${name}\` was changed in the store; it is fetched again` });
    await rm(join(store, name), { force: true });
  }
  return [...flaws.values()];
}

/** Its bytes are others; what cannot be read may be right. */
function isDamaged({ problem }: Flaw): boolean {
  return problem === 'corrupt' || problem === 'size';
}
