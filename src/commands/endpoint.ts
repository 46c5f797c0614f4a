import { isDigest } from '../core/digest.ts';
import { MirrorError, placeError } from '../core/errors.ts';
import type { ContentSource, ContentTarget } from '../core/ports.ts';
import { WritableLayout, WritableView } from '../oci/layout.ts';
import { chooseImage } from '../oci/layout-choice.ts';
import { splitName } from '../oci/layout-index.ts';
import { formatReference, parseReference, type Reference, wantedOf } from '../oci/reference.ts';
import { resilientSource, resilientTarget } from '../oci/resilient.ts';
import type { Context } from './context.ts';
import { type LocalPlace, localPlace, openLocal } from './local-source.ts';
import type { TrustOptions } from './sealed.ts';

/** Where an image comes from, opened. */
export interface SourceEndpoint {
  /** What the image is called, wherever it lies: its name in a layout. */
  name: string;
  /** For people. */
  shown: string;
  source: ContentSource;
  /** Tag or digest to resolve. */
  wanted: string;
  /** Tag that the image has there; a digest alone has none. */
  tag: string | undefined;
}

export interface TargetEndpoint {
  name: string;
  target: ContentTarget;
  /** Tag or digest under which the image will be found. */
  reference: string;
}

/**
 * @param text `registry/repository:tag`, or `oci:DIR`, `docker-archive:FILE`, `oci-archive:FILE`, `bundle:DIR`, each with
 *   a name or digest after it where it holds several images
 * @param trust whom to trust as the maker of a bundle
 */
export async function openSource(context: Context, text: string, trust: TrustOptions = {}): Promise<SourceEndpoint> {
  const place = await localPlace(text, context);
  if (!place) return openRemoteSource(context, parseReference(text));
  const shown = `${place.kind}:${place.path}`;
  const layout = await openLocal(place, { context, trust });
  const { name, repository, reference } = await chooseImage(layout, place.choice, shown);
  return {
    name,
    shown: `${shown}:${name}`,
    source: layout.view(repository),
    wanted: reference,
    tag: isDigest(reference) ? undefined : reference,
  };
}

async function openRemoteSource(context: Context, reference: Reference): Promise<SourceEndpoint> {
  const repository = await context.source(reference.registry, reference.repository);
  const name = formatReference(reference);
  return {
    name,
    shown: name,
    source: resilientSource(repository, context.retry),
    wanted: wantedOf(reference),
    tag: reference.tag,
  };
}

/** @param from the source, which names the image where the target's text does not */
export async function openTarget(context: Context, text: string, from: SourceEndpoint): Promise<TargetEndpoint> {
  const place = await localPlace(text, context);
  if (place) return openLayoutTarget(context, place, from);
  const named = parseReference(text);
  const explicit = named.digest === undefined && /:[^/]+$/.test(text);
  return openRepository(context, named, explicit ? (named.tag ?? 'latest') : (named.digest ?? from.tag ?? from.wanted));
}

async function openLayoutTarget(context: Context, place: LocalPlace, from: SourceEndpoint): Promise<TargetEndpoint> {
  const { kind, path: directory, choice: name = from.name } = place;
  if (kind !== 'oci')
    throw new MirrorError('E_USAGE', `\`${kind}:\` can be read only`, {
      hint: `copy to a layout: \`oci:DIR\``,
      at: { side: 'target', item: directory },
    });
  if (name.startsWith('@'))
    throw new MirrorError('E_USAGE', `\`${name}\` cannot be the name of an image`, { hint: 'write `oci:DIR:NAME`' });
  try {
    const layout = await WritableLayout.open(context.path(directory), context.owner);
    const { repository, reference } = splitName(name);
    return { name: `oci:${directory}:${name}`, target: new WritableView(layout, repository), reference };
  } catch (error) {
    throw placeError(error, { side: 'target', item: directory });
  }
}

/** @param reference tag or digest that the image gets in the repository */
export async function openRepository(
  context: Context,
  { registry, repository }: Reference,
  reference: string,
): Promise<TargetEndpoint> {
  const host = await context.registry(registry, 'target');
  const target = resilientTarget(host.repository(repository), context.retry);
  return { name: `${registry}/${repository}${isDigest(reference) ? '@' : ':'}${reference}`, target, reference };
}
