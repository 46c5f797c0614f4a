import type { ImageItem } from '../../bundle/records/inventory.ts';
import { type Digest, isDigest } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { defaultPlacement, refuseCollisions } from '../../manifest/placement.ts';
import type { LeftOut } from '../../oci/lost.ts';
import { copyImage } from '../../oci/copy/graph.ts';
import { descriptorsOf, type ImageGraph, readImage } from '../../oci/graph.ts';
import { OciLayout } from '../../oci/layout/layout.ts';
import { splitName } from '../../oci/layout/index-file.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';
import { doubted } from '../../oci/copy/doubted.ts';
import { resolved } from '../../oci/side.ts';
import { attempt } from '../attempt.ts';
import { leftOutItem } from '../copy/image.ts';
import { openRepository, type TargetEndpoint } from '../places/endpoint.ts';
import { type ImportRun, noteBrought } from './run.ts';
import { blobsOver, layoutOverMedia } from './media-layout.ts';

/** An image of the bundle and where it goes. */
export interface PlacedImage {
  item: ImageItem;
  repository: string;
  target: Reference;
  reference: string;
  /** Goes to the place for charts. */
  chart?: true;
}

/** Decided before anything moves. @throws E_CORRUPT for a place that no registry has */
export function placeImages(images: readonly ImageItem[], place: string): PlacedImage[] {
  return images.map((item) => {
    const { repository } = splitName(item.reference);
    return placeImage(item, place, item.to ?? defaultPlacement(repository === '' ? 'images' : repository));
  });
}

/** @param to repository below the place @throws E_CORRUPT */
export function placeImage(item: ImageItem, place: string, to: string): PlacedImage {
  const { repository, reference } = splitName(item.reference);
  return { item, repository, target: readPlace(`${place}/${to}`, reference, item), reference };
}

/** @throws E_MANIFEST for two images in one place */
export function refuseMeeting(placed: readonly PlacedImage[]): void {
  refuseCollisions(
    placed.map(({ item, target, reference }) => ({
      reference: item.reference,
      to: `${target.registry}/${target.repository}`,
      tag: reference,
      digest: item.root.digest,
    })),
  );
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

/** @param verify a registry that has a manifest is not believed to have what is below it */
export async function importImages(run: ImportRun, images: readonly PlacedImage[], verify: boolean): Promise<void> {
  const { reader, items, context } = run;
  const layout = new OciLayout(reader.tree('oci'), reader.inventory.name);
  for (const image of images) {
    context.report({
      type: 'stage',
      text: `importing ${image.item.reference} to ${image.target.registry}/${image.target.repository}`,
    });
    await attempt(items, 'image', image.item.reference, async () => {
      const target = await openRepository(context, image.target, image.reference);
      if (verify) target.target = doubted(target.target);
      const there = blobsOver(image.item, reader);
      if (there.lacking.length > 0 && (await isTagged(image, target))) {
        record(run, image, target.name, { copied: 0, copiedBytes: 0 });
        return;
      }
      const whole = there.lacking.length === 0 ? layout : await layoutOverMedia(run, image.item, there, target.target);
      await importImage(run, image, whole, target);
    });
  }
}

/** The tag comes last, so whatever has it is whole. */
export async function isTagged({ item, reference }: PlacedImage, { target }: TargetEndpoint): Promise<boolean> {
  return (await resolved(target, reference))?.digest === item.root.digest;
}

async function importImage(
  run: ImportRun,
  image: PlacedImage,
  layout: OciLayout,
  target: TargetEndpoint,
): Promise<void> {
  const { context } = run;
  const { item, repository, reference } = image;
  const source = layout.view(repository);
  const graph = await readImage(source, item.root, { slots: context.slots, referrers: true, signal: context.signal });
  checkWhole(item, graph);
  const { tally, leftOut } = await copyImage(source, target.target, graph, reference, context);
  const there = arrived(graph, leftOut);
  record(
    run,
    { ...image, item: { ...item, digests: item.digests.filter((each) => there.has(each)) } },
    target.name,
    tally,
  );
  for (const each of leftOut) run.items.push(leftOutItem({ shown: item.reference }, target.name, each));
}

/** Digests of an image and of what belongs to it, but for what the target does not take, or cannot be asked for. */
function arrived(graph: ImageGraph, leftOut: readonly LeftOut[]): Set<Digest> {
  const lacking = new Set(leftOut.flatMap(({ names }) => names));
  const attached = graph.attached.filter(({ referrer }) => !lacking.has(referrer.descriptor.digest));
  const tagged = graph.tagged.filter(({ tag }) => !lacking.has(tag));
  return new Set(descriptorsOf({ ...graph, attached, tagged }).map(({ digest }) => digest));
}

function record(
  run: ImportRun,
  { item, chart }: PlacedImage,
  target: string,
  tally: { copied: number; copiedBytes: number },
): void {
  const { reference: name, digests } = item;
  const { digest } = item.root;
  run.receipt.images.push({ reference: name, target, digest, digests, ...(chart ? { chart } : {}) });
  const { copied, copiedBytes: bytes } = tally;
  noteBrought(run, { kind: 'image', name, target, digest, bytes, isNew: copied > 0, detail: tally });
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
