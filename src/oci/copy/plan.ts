import type { Descriptor } from '../../core/descriptor.ts';
import { endsRun, toMirrorError } from '../../core/errors.ts';
import { type Limit, smallBody } from '../../core/limit.ts';
import type { ContentSource, ContentTarget } from '../../core/ports.ts';
import { descriptorsOf, type GraphNode, type ImageGraph, nodesOf, readImage } from '../graph.ts';
import { at } from '../side.ts';
import { isForeign } from '../types.ts';

/** What a copy of an image would do. */
export interface CopyPlan {
  move: Descriptor[];
  present: Descriptor[];
}

/** Where an image would go; nothing is written there. */
export interface PlanTarget {
  target: ContentSource & Pick<ContentTarget, 'isEmpty'>;
  /** A directory is looked through; a registry that has a manifest has its blobs. */
  local: boolean;
  /** What the reference names there now. */
  named: Descriptor | undefined;
}

/** Looks what of an image `copyImage` would find at the target, by the same rules. */
export async function planCopy(image: ImageGraph, where: PlanTarget, requests: Limit): Promise<CopyPlan> {
  const { target, local, named } = where;
  const wasEmpty = named === undefined && !local && ((await target.isEmpty?.().catch(() => false)) ?? false);
  const exists = (each: Descriptor): Promise<boolean> =>
    at('target', each.digest, () => requests(() => target.exists(each)));
  const there = new Set<string>();
  const look = async (each: Descriptor, absent: boolean): Promise<void> => {
    if (each.digest === named?.digest || (!absent && (await exists(each)))) there.add(each.digest);
  };
  const nodes = nodesOf(image);
  await Promise.all(nodes.map(({ descriptor }) => look(descriptor, wasEmpty)));
  const hasAll = ({ descriptor }: GraphNode): boolean => !local && there.has(descriptor.digest);
  for (const { digest } of nodes.filter(hasAll).flatMap(({ blobs }) => blobs.filter((blob) => !isForeign(blob))))
    there.add(digest);
  const open = nodes.flatMap(({ blobs }) => blobs);
  const unknown = new Map(open.filter(({ digest }) => !there.has(digest)).map((blob) => [blob.digest, blob]));
  await Promise.all([...unknown.values()].map((blob) => look(blob, wasEmpty && blob.size <= smallBody)));
  const all = descriptorsOf(image);
  return {
    move: all.filter(({ digest }) => !there.has(digest)),
    present: all.filter(({ digest }) => there.has(digest)),
  };
}

/** Whether a directory has all of an image, so that nothing needs to be asked of its source. */
export async function hasWhole(target: ContentSource, root: Descriptor, slots: number): Promise<boolean> {
  try {
    const image = await readImage(target, root, { slots, referrers: false });
    const there = await Promise.all(descriptorsOf(image).map((each) => target.exists(each)));
    return there.every(Boolean);
  } catch (error) {
    const known = toMirrorError(error);
    if (endsRun(known)) throw known;
    return false;
  }
}
