import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, isDigest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { plural } from '../core/text.ts';

/** Something that belongs to an image, and that its source does not have whole. */
export interface Lost {
  /** Digest of a referrer, or a tag that cosign named after a digest. */
  name: string;
  /** What of it is not there: a digest or a tag; the name itself when nothing is. */
  part: string;
}

/** Whether a source does not have what somebody there names. */
export function isLost(error: unknown): error is MirrorError {
  return error instanceof MirrorError && error.code === 'E_NOT_FOUND' && error.at.side === 'source';
}

/** Undefined for what is listed and not there, or not whole, which is noted: nobody deletes from a list what he deletes. */
export async function unlessLost<T>(name: string, lost: Lost[], read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!isLost(error)) throw error;
    lost.push(lostBecause(name, error));
    return undefined;
  }
}

/** @param error one that {@link isLost} */
export function lostBecause(name: string, { at }: MirrorError): Lost {
  const item = at.item ?? name;
  const digest = item.slice(item.lastIndexOf('@') + 1);
  return { name, part: isDigest(digest) ? digest : item.endsWith(`:${name}`) ? name : item };
}

/** The error for what belongs to an image and cannot be had. @param before what is to be said first */
export function lostReferrers(lost: readonly Lost[], before = ''): MirrorError {
  const each = [...new Map(lost.map((one) => [one.name, one])).values()];
  const named = each
    .slice(0, 3)
    .map(({ name, part }) => (part === name ? `\`${name}\`` : `\`${name}\`, which lacks \`${part}\``));
  const more = each.length > 3 ? '; ...' : '';
  return new MirrorError(
    'E_NOT_FOUND',
    `${before}the source does not have ${plural(each.length, 'referrer')} that it lists: ${named.join('; ')}${more}`,
    {
      hint: 'have them pushed there again, or taken off the list; `copy --no-referrers` leaves them out',
      at: { side: 'source', item: each[0]?.name ?? '' },
    },
  );
}

/** What a manifest names, and its source does not have, is nothing that somebody has spelt wrongly. */
export function lostPart(error: unknown, digest: Digest): unknown {
  if (!isLost(error)) return error;
  return new MirrorError('E_NOT_FOUND', `the source does not have \`${digest}\`, which the image names`, {
    hint: 'it was deleted there, or never arrived: have the image pushed there again, or copy it from another place',
    at: error.at,
    cause: error,
  });
}

/** The error for a list of referrers that its source has and does not give; who asks for an image does not think of it. */
export function unlisted(error: unknown, { digest }: Descriptor): unknown {
  if (!(error instanceof MirrorError && error.code === 'E_REMOTE')) return error;
  return new MirrorError(error.code, `what refers to \`${digest}\` cannot be listed: ${error.message}`, {
    hint: 'run the same command again later; `copy --no-referrers` leaves out signatures and whatever else refers to it',
    at: error.at,
    cause: error,
  });
}
