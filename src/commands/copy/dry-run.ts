import { type Descriptor, totalSize } from '../../core/descriptor.ts';
import type { ReportItem } from '../../core/report.ts';
import { formatBytes, plural } from '../../core/text.ts';
import { chooseRoot } from '../../oci/copy/choose-platforms.ts';
import { checkReference } from '../../oci/copy/graph.ts';
import { type CopyPlan, planCopy } from '../../oci/copy/plan.ts';
import { GraphReader } from '../../oci/graph.ts';
import { leftOutOf } from '../../oci/lost.ts';
import { resolved } from '../../oci/side.ts';
import type { Context } from '../context.ts';
import { detailOf, incomplete, leftOutItem, remarksOn, type Wanted } from './image.ts';
import { type CopyPlaces, resolveSource } from './places.ts';
import { type SourceEndpoint, viewTarget } from '../places/endpoint.ts';

/** What a copy would do with one image. */
export interface PlannedImage {
  items: ReportItem[];
  lines: string[];
  /** The repository in which a blob of several images is moved once. */
  place: string;
  plan: CopyPlan;
}

/** Asks both sides what there is; reads manifests alone, and writes nothing. */
export async function planOne(
  from: SourceEndpoint,
  targetText: string,
  wanted: Wanted,
  places: CopyPlaces,
  context: Context,
): Promise<PlannedImage> {
  const to = await viewTarget(context, targetText, from);
  const asked = resolved(to.target, to.reference);
  asked.catch(() => {});
  const root = await resolveSource(from, context);
  const named = await asked;
  const reader = new GraphReader(from.source, {
    ...wanted,
    slots: context.slots,
    requests: places.pool.reads,
    signal: context.signal,
  });
  const image = await reader.image(await chooseRoot(reader, root, wanted.choice));
  const { digest } = image.root.descriptor;
  checkReference(image.root.descriptor, to.expected ?? to.reference);
  const plan = await planCopy(image, { target: to.target, local: to.local, named }, places.pool.requests);
  const state = plan.move.length === 0 && named?.digest === digest ? 'present' : 'planned';
  const move = sizeOf(plan.move);
  const present = sizeOf(plan.present);
  const replaces = named && named.digest !== digest ? { replaces: named.digest } : {};
  const done =
    state === 'present'
      ? 'is there already, nothing would move'
      : `${plural(move.count, 'part')}, ${formatBytes(move.bytes)}, would move; ${formatBytes(present.bytes)} are there`;
  const item: ReportItem = {
    kind: 'image',
    name: to.name,
    state,
    digest,
    bytes: move.bytes,
    detail: {
      source: from.shown,
      target: to.name,
      mediaType: root.mediaType,
      move,
      present,
      ...replaces,
      ...detailOf(image, root.digest, wanted),
    },
  };
  const lacking = leftOutOf(image).map((each) => leftOutItem(from, to.name, each));
  return {
    items: [item, ...lacking],
    lines: [
      `${to.name}  ${digest}`,
      ...remarksOn(image, wanted),
      ...(replaces.replaces === undefined ? [] : [`the tag is there and names ${replaces.replaces}`]),
      done,
      ...incomplete(lacking),
    ],
    place: `${to.host}/${to.repository}`,
    plan,
  };
}

/** The sum of plans, in which what goes to one repository counts once. */
export function totalOf(planned: readonly PlannedImage[]): { move: number; bytes: number; present: number } {
  const moved = new Map<string, Descriptor>();
  const present = new Map<string, Descriptor>();
  for (const { place, plan } of planned) {
    for (const part of plan.move) moved.set(`${place} ${part.digest}`, part);
    for (const part of plan.present) present.set(`${place} ${part.digest}`, part);
  }
  const { count: move, bytes } = sizeOf([...moved.values()]);
  return { move, bytes, present: present.size };
}

function sizeOf(parts: readonly Descriptor[]): { count: number; bytes: number } {
  return { count: parts.length, bytes: totalSize(parts) };
}
