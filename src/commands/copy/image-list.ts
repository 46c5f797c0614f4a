import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { splitName } from '../../oci/layout/index-file.ts';
import { parseReference } from '../../oci/reference.ts';
import { resilientSource } from '../../oci/registry/resilient.ts';
import type { Context } from '../context.ts';
import { namesTag } from '../places/endpoint.ts';
import { type LocalOptions, type LocalPlace, localPlace, type OpenPlaces, openLocal } from '../places/local-source.ts';
import type { TrustOptions } from '../records/sealed.ts';

/** An image that a repository, layout, archive or bundle has by name. */
export interface ListedImage {
  /** To be opened as a source. */
  text: string;
  repository: string;
  tag: string;
}

/**
 * Every tag of a repository, or of what a place in the file system holds; sorted.
 * @param text `registry/repository`, `oci:DIR` or `oci:DIR:REPOSITORY`; `docker-archive:` and `bundle:` likewise
 * @param opened what the command has open already
 * @throws E_USAGE, E_NOT_FOUND
 */
export async function listImages(
  context: Context,
  text: string,
  trust: TrustOptions,
  opened?: OpenPlaces,
): Promise<ListedImage[]> {
  const place = await localPlace(text, context);
  const images = place ? await listPlace(place, { context, trust, opened }) : await listRepository(context, text);
  return images.sort((a, b) => (a.text < b.text ? -1 : 1));
}

async function listRepository(context: Context, text: string): Promise<ListedImage[]> {
  const { registry, repository } = parseReference(text);
  if (namesTag(text) || text.includes('@'))
    throw new MirrorError('E_USAGE', `\`${text}\` names one image, and all of a repository were asked for`, {
      hint: `write it as \`${registry}/${repository}\``,
    });
  const source = resilientSource(await context.source(registry, repository), context.retry);
  return (await source.tags()).map((tag) => ({ text: `${registry}/${repository}:${tag}`, repository, tag }));
}

async function listPlace(place: LocalPlace, options: LocalOptions): Promise<ListedImage[]> {
  const layout = await openLocal(place, options);
  const images = (await layout.named()).map((each) => {
    const { repository, reference } = splitName(each.name);
    return { text: `${place.kind}:${place.path}:${each.name}`, repository, tag: reference };
  });
  if (place.choice === undefined) return images;
  const chosen = images.filter(({ repository }) => repository === place.choice);
  if (chosen.length === 0 && images.length > 0) throw notThere(place, images);
  return chosen;
}

function notThere({ kind, path, choice }: LocalPlace, images: readonly ListedImage[]): MirrorError {
  const repositories = [...new Set(images.map(({ repository }) => repository))].sort();
  const shown = repositories.slice(0, 8).map((each) => `\`${kind}:${path}:${printable(each)}\``);
  return new MirrorError('E_NOT_FOUND', `no image of \`${choice}\` is in \`${kind}:${path}\``, {
    hint: `choose one: ${shown.join(', ')}${repositories.length > shown.length ? ', ...' : ''}`,
    at: { side: 'source', item: `${kind}:${path}` },
  });
}
