import type { Descriptor } from '../../core/descriptor.ts';
import { MirrorError } from '../../core/errors.ts';
import type { GraphNode, ImageGraph } from '../graph.ts';
import { aboutReferrers, isFailing, isLost, type Lacking, type LeftOut, leftOutOf, lostBecause } from '../lost.ts';

/** Its referrers, by what they refer to. */
export function bySubject(image: ImageGraph): Map<Descriptor, GraphNode[]> {
  const subjects = new Map<Descriptor, GraphNode[]>();
  for (const { subject, referrer } of image.attached)
    subjects.set(subject, [...(subjects.get(subject) ?? []), referrer]);
  return subjects;
}

/**
 * That something which belongs to an image cannot be had, or is not taken, is no reason to keep the image back. A target
 * that does not let one thing in may let in others: the image's tag comes after all of them.
 */
export function isSpared(error: unknown): error is MirrorError {
  if (!(error instanceof MirrorError)) return false;
  const { code, at } = error;
  return isLost(error) || isFailing(error) || code === 'E_REFUSED' || (code === 'E_AUTH' && at.side === 'target');
}

/** Keeps account of it. */
export class Belongings {
  readonly #lacking: Lacking;
  readonly #refused: LeftOut[] = [];

  /** @param lacking what is known to be not to be had */
  constructor({ lost, unread, unlisted }: Lacking) {
    this.#lacking = { lost: [...lost], unread: [...unread], unlisted };
  }

  /** Does work for some of it. @returns whether it was done @throws what is no matter of these alone */
  async bring(names: readonly string[], work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!isSpared(error)) throw error;
      const { lost, unread } = this.#lacking;
      const kept = error.at.side === 'source' ? unread : this.#refused;
      if (isLost(error)) lost.push(...names.map((name) => lostBecause(name, error)));
      else kept.push({ names: [...names], error });
      return false;
    }
  }

  /** @returns nothing when all has been brought */
  leftOut(): LeftOut[] {
    const refused = [...new Set(this.#refused.flatMap(({ names }) => names))];
    const [first] = this.#refused;
    return [
      ...leftOutOf(this.#lacking, before),
      ...(first ? [{ names: refused, error: aboutReferrers(refused, 'found there', first.error, before) }] : []),
    ];
  }
}

const before = 'the image is at the target, but ';
