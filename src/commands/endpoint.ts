import { isDigest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { ContentSource, ContentTarget } from '../core/ports.ts';
import { ensureWritable } from '../fs/atomic.ts';
import { directoryTree } from '../fs/tree.ts';
import { OciLayout, WritableLayout, WritableView } from '../oci/layout.ts';
import { digestTag, formatReference, parseReference, type Reference, wantedOf } from '../oci/reference.ts';
import { resilientSource, resilientTarget } from '../oci/resilient.ts';
import type { Context } from './context.ts';

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

/** A name inside a layout: `repository:tag`, `repository@digest`, or a bare tag. */
interface LayoutName {
  repository: string;
  reference: string;
}

/** @param text `registry/repository:tag`, `oci:DIR`, `oci:DIR:NAME` or `oci:DIR@DIGEST` */
export async function openSource(context: Context, text: string): Promise<SourceEndpoint> {
  if (!text.startsWith('oci:')) {
    const reference = parseReference(text);
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
  const { directory, name } = splitLayout(text);
  const layout = new OciLayout(directoryTree(context.path(directory)), directory);
  const chosen = name ?? (await onlyName(layout, text));
  const { repository, reference } = splitName(chosen);
  return {
    name: chosen,
    shown: `oci:${directory}:${chosen}`,
    source: layout.view(repository),
    wanted: reference,
    tag: isDigest(reference) ? undefined : reference,
  };
}

/** @param from the source, which names the image where the target's text does not */
export async function openTarget(context: Context, text: string, from: SourceEndpoint): Promise<TargetEndpoint> {
  if (!text.startsWith('oci:')) {
    const named = parseReference(text);
    const explicit = named.digest === undefined && /:[^/]+$/.test(text);
    return openRepository(
      context,
      named,
      explicit ? (named.tag ?? 'latest') : (named.digest ?? from.tag ?? from.wanted),
    );
  }
  const { directory, name } = splitLayout(text);
  await ensureWritable(context.path(directory));
  await context.lock(context.path(directory));
  const layout = await WritableLayout.open(context.path(directory));
  const { repository, reference } = splitName(name ?? from.name);
  return { name: `oci:${directory}:${name ?? from.name}`, target: new WritableView(layout, repository), reference };
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

function splitLayout(text: string): { directory: string; name: string | undefined } {
  const rest = text.slice('oci:'.length);
  const at = rest.indexOf('@sha');
  const colon = rest.indexOf(':');
  const cut = colon >= 0 && (at < 0 || colon < at) ? colon : at;
  const directory = cut < 0 ? rest : rest.slice(0, cut);
  const name = cut < 0 ? undefined : rest.slice(cut + 1);
  if (directory === '' || name === '')
    throw new MirrorError('E_USAGE', `\`${text}\` names no layout directory`, {
      hint: 'write it as `oci:DIR` or `oci:DIR:NAME`',
    });
  return { directory, name };
}

/** Splits what `formatReference` joined; names that others wrote may be bare tags. */
export function splitName(name: string): LayoutName {
  const at = name.indexOf('@');
  if (at > 0) return { repository: name.slice(0, at).replace(/:[^/:]*$/, ''), reference: name.slice(at + 1) };
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  return colon < 0 || isDigest(name)
    ? { repository: '', reference: name }
    : { repository: name.slice(0, colon), reference: name.slice(colon + 1) };
}

async function onlyName(layout: OciLayout, text: string): Promise<string> {
  const { manifests } = await layout.index();
  // Signatures come along with the image that they are named after; nobody means them alone.
  const names = (await layout.named())
    .map(({ name }) => name)
    .filter((name) => digestTag(splitName(name).reference) === undefined);
  const [name = manifests[0]?.digest] = names;
  if (name !== undefined && (names.length === 1 || (names.length === 0 && manifests.length === 1))) return name;
  const hint =
    names.length === 0
      ? 'the layout is empty, or name a digest: `oci:DIR@sha256:...`'
      : `choose one: ${names
          .slice(0, 10)
          .map((each) => `\`${text}:${each}\``)
          .join(', ')}`;
  throw new MirrorError(
    names.length === 0 ? 'E_NOT_FOUND' : 'E_USAGE',
    `\`${text}\` holds ${names.length} named images`,
    { hint },
  );
}
