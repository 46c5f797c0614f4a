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

/** What belongs to an image, or may, and is not to be had or not taken, though the image is. */
export interface LeftOut {
  /** Digests of referrers, and tags that cosign named after a digest; none where it is the list of them that is not to be had. */
  names: string[];
  error: MirrorError;
}

/** What a source lacks of what belongs to an image. */
export interface Lacking {
  /** What it lists, and does not have whole. */
  lost: Lost[];
  /** What it lists, and answers with errors of its own. */
  unread: LeftOut[];
  /** What it does not list the referrers of, though it has such lists. */
  unlisted: { subject: Digest; error: MirrorError }[];
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

/**
 * The same of what belongs to an image: what its source answers with errors, though it was asked again and again, is
 * `unread`.
 */
export async function unlessUnread<T>(
  name: string,
  { lost, unread }: Lacking,
  read: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await unlessLost(name, lost, read);
  } catch (error) {
    if (!isFailing(error)) throw error;
    unread.push({ names: [name], error });
    return undefined;
  }
}

/** Whether a side answers one request with an error of its own, again and again; its other answers may be good. */
export function isFailing(error: unknown): error is MirrorError {
  return error instanceof MirrorError && error.code === 'E_REMOTE';
}

/** @param error one that {@link isLost} */
export function lostBecause(name: string, { at }: MirrorError): Lost {
  const item = at.item ?? name;
  const digest = item.slice(item.lastIndexOf('@') + 1);
  return { name, part: isDigest(digest) ? digest : item.endsWith(`:${name}`) ? name : item };
}

/** The error for what belongs to an image and cannot be had. @param before what is to be said first */
function lostReferrers(lost: readonly Lost[], before = ''): MirrorError {
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

/** What is to be said of it, in as many errors as it has kinds. @param before what is to be said first */
export function leftOutOf({ lost, unread, unlisted }: Lacking, before = ''): LeftOut[] {
  const names = [...new Set(lost.map(({ name }) => name))];
  const [first] = unread;
  const failing = [...new Set(unread.flatMap((each) => each.names))];
  const [list] = unlisted;
  return [
    ...(names.length > 0 ? [{ names, error: lostReferrers(lost, before) }] : []),
    ...(first ? [{ names: failing, error: aboutReferrers(failing, 'read', first.error, before) }] : []),
    ...(list ? [{ names: [], error: withoutList(list, unlisted.length - 1, before) }] : []),
  ];
}

/** @param verb what cannot be done with them */
export function aboutReferrers(
  names: readonly string[],
  verb: string,
  { code, message, hint, at, cause }: MirrorError,
  before: string,
): MirrorError {
  const named = names.slice(0, 3).map((name) => `\`${name}\``);
  const more = names.length > 3 ? ', ...' : '';
  return new MirrorError(
    code,
    `${before}${plural(names.length, 'referrer')} of it cannot be ${verb} (${named.join(', ')}${more}): ${message}`,
    { hint, at, cause },
  );
}

/** Who asks for an image does not think of lists of referrers. */
function withoutList({ subject, error }: Lacking['unlisted'][number], others: number, before: string): MirrorError {
  const more = others > 0 ? `, and to ${plural(others, 'other')},` : '';
  return new MirrorError(
    error.code,
    `${before}what refers to \`${subject}\`${more} cannot be listed: ${error.message}`,
    {
      hint: 'run the same command again later; `copy --no-referrers` leaves out signatures and whatever else refers to it',
      at: error.at,
      cause: error,
    },
  );
}
