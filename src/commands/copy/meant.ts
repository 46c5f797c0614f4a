import { stat } from 'node:fs/promises';
import { type ErrorCode, type MirrorError, toMirrorError } from '../../core/errors.ts';
import { distance, inBackticks, plural } from '../../core/text.ts';
import { formatReference, isDigestTag, parseReference } from '../../oci/reference.ts';
import type { Context } from '../context.ts';
import { namesTag } from '../places/endpoint.ts';
import { hasPrefix } from '../places/local-source.ts';
import { type CopyNames, hinted } from './advice.ts';
import type { CopyPlaces } from './places.ts';

/** What comes of a name that is taken for an image on Docker Hub and is none. */
const nowhere: readonly ErrorCode[] = ['E_NETWORK', 'E_NOT_FOUND', 'E_AUTH'];
const shownTags = 8;
/** Of very long lists the end is not compared. */
const comparedTags = 5000;

/** Does the work of one copy; an error that may come of a name which was not meant so says what can be meant. */
export async function asMeant<T>(
  names: CopyNames,
  places: CopyPlaces,
  context: Context,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const known = toMirrorError(error);
    const text = known.at.side === 'target' ? names.target : names.source;
    if (text === undefined || hasPrefix(text) || !nowhere.includes(known.code)) throw known;
    throw (await otherTags(known, text, places)) ?? (await localPath(known, text, context)) ?? known;
  }
}

/** A tag that is not there: which there are. Undefined where that is not what is wrong, or nobody says. */
async function otherTags(known: MirrorError, text: string, places: CopyPlaces): Promise<MirrorError | undefined> {
  const reference = parseReference(text);
  const { registry, repository, tag, digest } = reference;
  const isRoot = known.code === 'E_NOT_FOUND' && known.at.side === 'source' && digest === undefined;
  if (!isRoot || tag === undefined || known.at.item !== formatReference(reference)) return undefined;
  const listed = await tagsOf(text, places);
  if (listed === undefined) return undefined;
  const assumed = namesTag(text) ? '' : 'no tag was named, which means `latest`; ';
  const tags = listed.filter((each) => !isDigestTag(each));
  if (tags.length === 0)
    return hinted(
      known,
      `${assumed}\`${registry}\` shows no tag of \`${repository}\`: check the spelling of the repository; registries also answer so for what you may not see`,
    );
  const near = tags
    .slice(0, comparedTags)
    .map((each) => ({ each, far: distance(tag, each) }))
    .sort((a, b) => a.far - b.far)
    .slice(0, shownTags);
  const more = tags.length > near.length ? ', ...' : '';
  return hinted(
    known,
    `${assumed}the repository has ${plural(tags.length, 'tag')}: ${inBackticks(near.map(({ each }) => each))}${more}`,
  );
}

/** None of a repository that is not there; undefined where it does not list them. */
async function tagsOf(text: string, places: CopyPlaces): Promise<string[] | undefined> {
  try {
    return await (await places.source(text)).source.tags();
  } catch (error) {
    return toMirrorError(error).code === 'E_NOT_FOUND' ? [] : undefined;
  }
}

/** A path whose prefix was forgotten. */
async function localPath(known: MirrorError, text: string, context: Context): Promise<MirrorError | undefined> {
  const path = text.replace(/[:@].*$/, '');
  const found = await stat(context.path(path)).catch(() => undefined);
  const rest = text.slice(path.length);
  const meant = found?.isDirectory()
    ? `the directory \`${path}\` here is meant, write \`oci:${path}${rest}\``
    : found?.isFile() && known.at.side !== 'target'
      ? `the file \`${path}\` here is meant, write \`docker-archive:${path}${rest}\``
      : undefined;
  return meant === undefined ? undefined : hinted(known, [known.hint, `if ${meant}`].filter(Boolean).join('; '));
}
