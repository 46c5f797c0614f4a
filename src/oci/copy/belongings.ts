import type { Descriptor } from '../../core/descriptor.ts';
import { type ErrorCode, MirrorError } from '../../core/errors.ts';
import { plural } from '../../core/text.ts';
import type { GraphNode, ImageGraph } from '../graph.ts';
import { isLost, type Lost, lostBecause, lostReferrers } from '../lost.ts';

/** What belongs to an image and is not at the target, though the image is. */
export interface LeftOut {
  /** Digests of referrers, and tags that cosign named after a digest. */
  names: string[];
  error: MirrorError;
}

/** Its referrers, by what they refer to. */
export function bySubject(image: ImageGraph): Map<Descriptor, GraphNode[]> {
  const subjects = new Map<Descriptor, GraphNode[]>();
  for (const { subject, referrer } of image.attached)
    subjects.set(subject, [...(subjects.get(subject) ?? []), referrer]);
  return subjects;
}

/** What a target answers that has something against one request, and may take others; the image's tag comes after all of them. */
const refusals: readonly ErrorCode[] = ['E_AUTH', 'E_REMOTE'];

/** That something which belongs to an image cannot be had, or is not taken, is no reason to keep the image back. */
export function isSpared(error: unknown): error is MirrorError {
  if (isLost(error)) return true;
  if (!(error instanceof MirrorError)) return false;
  return error.code === 'E_REFUSED' || (error.at.side === 'target' && refusals.includes(error.code));
}

/** Keeps account of it. */
export class Belongings {
  readonly #lost: Lost[];
  readonly #refused: LeftOut[] = [];

  /** @param lost what is known to be lost */
  constructor(lost: readonly Lost[]) {
    this.#lost = [...lost];
  }

  /** Does work for some of it. @returns whether it was done @throws what is no matter of these alone */
  async bring(names: readonly string[], work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!isSpared(error)) throw error;
      if (isLost(error)) this.#lost.push(...names.map((name) => lostBecause(name, error)));
      else this.#refused.push({ names: [...names], error });
      return false;
    }
  }

  /** @returns nothing when all has been brought */
  leftOut(): LeftOut[] {
    const lost = [...new Set(this.#lost.map(({ name }) => name))];
    const refused = [...new Set(this.#refused.flatMap(({ names }) => names))];
    const [first] = this.#refused;
    return [
      ...(lost.length > 0 ? [{ names: lost, error: lostReferrers(this.#lost, before) }] : []),
      ...(first ? [{ names: refused, error: refusedReferrers(refused, first.error) }] : []),
    ];
  }
}

const before = 'the image is at the target, but ';

function refusedReferrers(names: readonly string[], { code, message, hint, at, cause }: MirrorError): MirrorError {
  const named = names.slice(0, 3).map((name) => `\`${name}\``);
  const more = names.length > 3 ? ', ...' : '';
  return new MirrorError(
    code,
    `${before}${plural(names.length, 'referrer')} of it cannot be found there (${named.join(', ')}${more}): ${message}`,
    { ...(hint === undefined ? {} : { hint }), at, cause },
  );
}
