import type { ImageItem, Inventory } from '../bundle/inventory.ts';
import type { BundleReader } from '../bundle/reader.ts';
import type { Receipt } from '../bundle/receipt.ts';
import { isDigest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { ReportItem } from '../core/report.ts';
import { defaultPlacement, refuseCollisions } from '../manifest/placement.ts';
import { copyImage } from '../oci/copy-graph.ts';
import { descriptorsOf, type ImageGraph, readImage } from '../oci/graph.ts';
import { OciLayout } from '../oci/layout.ts';
import { splitName } from '../oci/layout-index.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import { attempt } from './attempt.ts';
import type { Context } from './context.ts';
import { openRepository } from './endpoint.ts';

/** An image of the bundle and where it goes. */
export interface PlacedImage {
  item: ImageItem;
  repository: string;
  target: Reference;
  reference: string;
}

/** Decided before anything moves. @throws E_CORRUPT for a place that no registry has, E_MANIFEST for two images in one place */
export function placeImages(inventory: Inventory, place: string): PlacedImage[] {
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

export async function importImages(
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
