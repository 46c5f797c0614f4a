import { type Digest, isDigest } from '../../core/digest.ts';
import { MirrorError, placeError } from '../../core/errors.ts';
import type { ContentSource, ContentTarget } from '../../core/ports.ts';
import { directoryTree } from '../../fs/tree.ts';
import { OciLayout, WritableLayout, WritableView } from '../../oci/layout/layout.ts';
import { chooseImage } from '../../oci/layout/choice.ts';
import { splitName } from '../../oci/layout/index-file.ts';
import { formatReference, parseReference, type Reference, wantedOf } from '../../oci/reference.ts';
import { resilientSource, resilientTarget } from '../../oci/registry/resilient.ts';
import { at } from '../../oci/side.ts';
import type { Context } from '../context.ts';
import { type LocalPlace, localPlace, type OpenPlaces, openLocal } from './local-source.ts';
import type { TrustOptions } from '../records/sealed.ts';

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
  /** Registry, or directory of a layout. */
  host: string;
  /** Empty in a layout, where all share their blobs. */
  repository: string;
  target: ContentTarget;
  /** Tag or digest under which the image will be found. */
  reference: string;
  /** Digest that the image must have, where the target names a tag and a digest. */
  expected?: Digest;
}

/** A target that is only looked at. */
export type TargetView = Omit<TargetEndpoint, 'target'> & { target: ContentSource; local: boolean };

/**
 * @param text `registry/repository:tag`, or `oci:DIR`, `docker-archive:FILE`, `oci-archive:FILE`, `bundle:DIR`, each with
 *   a name or digest after it where it holds several images
 * @param trust whom to trust as the maker of a bundle
 * @param places what this command has open already
 */
export async function openSource(
  context: Context,
  text: string,
  trust: TrustOptions = {},
  places?: OpenPlaces,
): Promise<SourceEndpoint> {
  const place = await localPlace(text, context);
  if (!place) return openRemoteSource(context, parseReference(text));
  const shown = `${place.kind}:${place.path}`;
  const { layout, name, repository, reference } = await at('source', shown, async () => {
    const opened = await openLocal(place, { context, trust, opened: places });
    return { layout: opened, ...(await chooseImage(opened, place.choice, shown)) };
  });
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

/**
 * @param from the source, which names the image where the target's text does not
 * @param layouts that this command has open already
 */
export async function openTarget(
  context: Context,
  text: string,
  from: SourceEndpoint,
  layouts = new Map<string, Promise<WritableLayout>>(),
): Promise<TargetEndpoint> {
  const place = await localPlace(text, context);
  if (!place) return openNamed(context, text, from);
  const named = inLayout(place, from);
  const path = context.path(place.path);
  const opening = layouts.get(path) ?? WritableLayout.open(path, context.owner);
  layouts.set(path, opening);
  try {
    return { ...named, target: new WritableView(await opening, splitName(place.choice ?? from.name).repository) };
  } catch (error) {
    throw placeError(error, { side: 'target', item: place.path });
  }
}

/** A target for one who only looks: nothing is made, and nobody is kept out. */
export async function viewTarget(context: Context, text: string, from: SourceEndpoint): Promise<TargetView> {
  const place = await localPlace(text, context);
  if (!place) return { ...(await openNamed(context, text, from)), local: false };
  const named = inLayout(place, from);
  const layout = new OciLayout(directoryTree(context.path(place.path)), place.path);
  return { ...named, target: layout.view(splitName(place.choice ?? from.name).repository), local: true };
}

/** @throws E_USAGE for what cannot be written to */
function inLayout({ kind, path: directory, choice }: LocalPlace, from: SourceEndpoint): Omit<TargetEndpoint, 'target'> {
  if (kind !== 'oci')
    throw new MirrorError('E_USAGE', `\`${kind}:\` can be read only`, {
      hint: 'copy to a layout: `oci:DIR`',
      at: { side: 'target', item: directory },
    });
  const name = choice ?? from.name;
  if (name.startsWith('@'))
    throw new MirrorError('E_USAGE', `\`${name}\` cannot be the name of an image`, { hint: 'write `oci:DIR:NAME`' });
  return { name: `oci:${directory}:${name}`, host: directory, repository: '', reference: splitName(name).reference };
}

async function openNamed(context: Context, text: string, from: SourceEndpoint): Promise<TargetEndpoint> {
  const named = parseReference(text);
  const tag = namesTag(text) ? named.tag : undefined;
  const opened = await openRepository(context, named, tag ?? named.digest ?? from.tag ?? from.wanted);
  return named.digest === undefined ? opened : { ...opened, expected: named.digest };
}

/** Whether a reference has a tag of its own, and not only the one that stands for none. */
export function namesTag(text: string): boolean {
  const [named = ''] = text.split('@');
  return named.includes(':', named.lastIndexOf('/') + 1);
}

/** @param reference tag or digest that the image gets in the repository */
export async function openRepository(
  context: Context,
  { registry, repository }: Reference,
  reference: string,
): Promise<TargetEndpoint> {
  const host = await context.registry(registry, 'target');
  const target = resilientTarget(host.repository(repository), context.retry);
  const name = `${registry}/${repository}${isDigest(reference) ? '@' : ':'}${reference}`;
  return { name, host: registry, repository, target, reference };
}
