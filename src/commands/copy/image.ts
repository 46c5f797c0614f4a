import type { Descriptor } from '../../core/descriptor.ts';
import type { Digest } from '../../core/digest.ts';
import type { ContentSource } from '../../core/ports.ts';
import { MirrorError } from '../../core/errors.ts';
import { failedItem, type ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import type { Choice } from '../../oci/copy/choose-platforms.ts';
import { readAndCopy } from '../../oci/copy/graph.ts';
import { hasWhole } from '../../oci/copy/plan.ts';
import type { CopyTally } from '../../oci/copy/run.ts';
import type { CopyPool, Destination } from '../../oci/copy/pool.ts';
import { type ImageGraph, nodesOf } from '../../oci/graph.ts';
import type { LeftOut } from '../../oci/lost.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { resolved } from '../../oci/side.ts';
import type { Context } from '../context.ts';
import { advised } from './advice.ts';
import { type CopyPlaces, resolveSource } from './places.ts';
import type { SourceEndpoint, TargetEndpoint } from '../places/endpoint.ts';

/** What of an image is copied. */
export interface Wanted {
  referrers: boolean;
  choice: Choice;
  includeForeign: boolean;
}

/** All that belongs to an image. */
export const wholeImage: Wanted = {
  referrers: true,
  choice: { platforms: [], sparse: false },
  includeForeign: false,
};

/** What came of the copy of one image. */
export interface MovedImage {
  tally: CopyTally;
  /** What the target has under the reference now. */
  root: Descriptor;
  /** Absent when nothing about the image can have changed, and so nothing of it was read. */
  image?: ImageGraph;
  /** What belongs to the image and did not arrive, though the image did. */
  leftOut: LeftOut[];
}

/** What the images of one command share, and what has been asked for this one already. */
export interface Shared {
  pool?: CopyPool;
  destination?: Destination;
  named?: Promise<Descriptor | undefined>;
}

/** Moves an image; when nothing about it can have changed, nothing of it is read. */
export async function moveImage(
  source: ContentSource,
  { target, reference, expected }: Pick<TargetEndpoint, 'target' | 'reference' | 'expected'>,
  root: Descriptor,
  wanted: Wanted,
  context: Context,
  shared: Shared = {},
): Promise<MovedImage> {
  const named = shared.named ?? resolved(target, reference);
  if (isAlone(wanted) && (await named)?.digest === root.digest) {
    // A registry that has the root has the rest; in a directory that is seen.
    if (!target.local || (await hasWhole(target, root, context.slots)))
      return { tally: { copied: 0, copiedBytes: 0, present: 1, presentBytes: root.size }, root, leftOut: [] };
  }
  const { slots, report, signal } = context;
  const options = { ...wanted, ...shared, named, expected, slots, report, signal };
  const { image, tally, leftOut } = await readAndCopy(source, target, root, reference, options);
  return { tally, root: image.root.descriptor, image, leftOut };
}

/** Whether the root says all: nothing refers to it from outside, and nothing of it is chosen. */
function isAlone({ referrers, choice, includeForeign }: Wanted): boolean {
  return !referrers && !includeForeign && !choice.sparse && choice.platforms.length === 0;
}

/** Copies one image and says what came of it. */
export async function copyOne(
  from: SourceEndpoint,
  target: string,
  wanted: Wanted,
  places: CopyPlaces,
  context: Context,
): Promise<{ items: ReportItem[]; lines: string[] }> {
  const to = await places.target(target, from);
  // Both sides are asked at once; if both fail it is the source that is named.
  const named = resolved(to.target, to.reference);
  named.catch(() => {});
  const root = await resolveSource(from, context);
  const before = (await named)?.digest;
  const shared = { pool: places.pool, destination: to.destination, named };
  const moved = await moveImage(from.source, to, root, wanted, context, shared);
  const { tally } = moved;
  const state = tally.copied === 0 && before === moved.root.digest ? 'present' : 'done';
  context.report({ type: 'item', item: to.name, state, bytes: tally.copiedBytes });
  const done =
    state === 'present'
      ? 'was there already, nothing moved'
      : `${formatBytes(tally.copiedBytes)} moved, ${formatBytes(tally.presentBytes)} were there`;
  const item: ReportItem = {
    kind: 'image',
    name: to.name,
    state,
    digest: moved.root.digest,
    bytes: tally.copiedBytes,
    detail: {
      source: from.shown,
      target: to.name,
      mediaType: root.mediaType,
      ...tally,
      ...detailOf(moved.image, root.digest, wanted, moved.leftOut),
    },
  };
  const items = [item, ...moved.leftOut.map((each) => leftOutItem(from, to.name, each))];
  const remarks = remarksOn(moved.image, wanted, moved.leftOut);
  return { items, lines: [`${to.name}  ${moved.root.digest}`, ...remarks, done, ...incomplete(items)] };
}

/** What did not arrive of what belongs to an image, as an item of its own. */
export function leftOutItem(
  from: Pick<SourceEndpoint, 'shown'>,
  target: string,
  { names, error }: LeftOut,
): ReportItem {
  const { code, message, hint, at } = advised(error, from.shown);
  // Of a list it has to be said of which image it speaks.
  const image = at.side === 'target' ? target : from.shown;
  const told = new MirrorError(code, message, { ...(hint === undefined ? {} : { hint }), at: { ...at, item: image } });
  return { ...failedItem('referrers', target, told), detail: { names } };
}

/** The same for people, who see the errors elsewhere. */
export function incomplete(items: readonly ReportItem[]): string[] {
  return items.some(({ kind }) => kind === 'referrers')
    ? ['INCOMPLETE: not all that belongs to it came along, see the error above']
    : [];
}

/** What a report says of an image beside sizes. */
export function detailOf(
  image: ImageGraph | undefined,
  source: Digest,
  wanted: Wanted,
  leftOut: readonly LeftOut[] = [],
): Record<string, unknown> {
  if (!image) return {};
  const { platforms, sparse } = wanted.choice;
  const changed = image.root.descriptor.digest !== source;
  const foreign = foreignOf(image);
  return {
    ...(platforms.length > 0 ? { platforms: platforms.map(formatPlatform) } : {}),
    ...(sparse ? { sparse: image.root.sparse === true } : {}),
    ...(changed ? { sourceDigest: source, leftBehind: image.leftBehind } : {}),
    ...(referrersOf(image, leftOut) > 0 ? { referrers: referrersOf(image, leftOut) } : {}),
    ...(image.strays > 0 ? { strays: image.strays } : {}),
    ...(foreign.count > 0 ? { foreign } : {}),
  };
}

/** The same for people. */
export function remarksOn(
  image: ImageGraph | undefined,
  { choice, referrers }: Wanted,
  leftOut: readonly LeftOut[] = [],
): string[] {
  if (!image) return [];
  const lines: string[] = [];
  const { madeFrom, sparse } = image.root;
  if (madeFrom)
    lines.push(
      `an index of ${choice.platforms.map(formatPlatform).join(', ')} alone: its digest is not the source's, ${madeFrom.digest}`,
    );
  if (madeFrom && referrers && image.leftBehind > 0)
    lines.push(`signatures and referrers left out, as they speak of the source's digest: ${image.leftBehind}`);
  const belonging = referrersOf(image, leftOut);
  if (belonging > 0) lines.push(`signatures and referrers that belong to it: ${belonging}`);
  if (image.strays > 0)
    lines.push(
      `left out, as it does not refer to the image, though the source lists it so: ${plural(image.strays, 'manifest')}`,
    );
  if (sparse) lines.push('the index is as in the source, and names platforms that are not there');
  const foreign = foreignOf(image);
  if (foreign.count > 0)
    lines.push(
      `${plural(foreign.count, 'foreign layer')}, ${formatBytes(foreign.bytes)}: left with the owner; \`--include-foreign\` fetches them`,
    );
  return lines;
}

/** How many signatures, SBOMs and the like belong to an image, and came along. */
function referrersOf({ attached, tagged }: ImageGraph, leftOut: readonly LeftOut[]): number {
  const lacking = new Set(leftOut.flatMap(({ names }) => names));
  const digests = [
    ...attached.map(({ referrer }) => referrer.descriptor.digest).filter((digest) => !lacking.has(digest)),
    ...tagged.filter(({ tag }) => !lacking.has(tag)).map(({ node }) => node.descriptor.digest),
  ];
  return new Set(digests).size;
}

/** Layers that are carried as references to where their owner has them. */
export function foreignOf(image: ImageGraph): { count: number; bytes: number } {
  const layers = new Map(nodesOf(image).flatMap(({ foreign }) => foreign.map((each) => [each.digest, each.size])));
  return { count: layers.size, bytes: [...layers.values()].reduce((sum, size) => sum + size, 0) };
}
