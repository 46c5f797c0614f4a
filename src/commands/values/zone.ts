import { readFile } from 'node:fs/promises';
import { parseReceipt, type ReceivedImage, type ReceivedModel, receiptSchemaId } from '../../bundle/records/receipt.ts';
import { sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { checkRelativePath } from '../../core/path.ts';
import { printable } from '../../core/text.ts';
import { parseJson } from '../../core/validate.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';
import type { ImagePlace, Zone, ZoneImage, ZoneModel } from '../../values/zone.ts';
import type { Context } from '../context.ts';

/**
 * What a zone holds, by a receipt of `import`.
 * @throws E_NOT_FOUND, E_CORRUPT; E_USAGE for a file that is no receipt, and for that of an import that did not end
 */
export async function readZone(path: string, context: Context): Promise<Zone> {
  const bytes = await readFile(context.path(path));
  const { schema } = (parseJson(bytes, path, 'E_USAGE') ?? {}) as { schema?: unknown };
  if (schema !== receiptSchemaId)
    throw new MirrorError('E_USAGE', `\`${path}\` is no receipt`, {
      hint: 'give the file that `sie-mirror import` wrote: NAME.receipt.json',
    });
  const receipt = parseReceipt(bytes, path);
  if (!receipt.complete)
    throw new MirrorError('E_USAGE', `\`${path}\` is the receipt of an import that did not end`, {
      hint: 'run the same `sie-mirror import` again until it is complete',
    });
  const { models } = receipt.targets;
  if (models !== undefined && printable(models) !== models)
    throw new MirrorError('E_CORRUPT', `\`${path}\` has a target for models with control characters in it`);
  return {
    name: printable(receipt.bundle.name),
    receipt: sha256(bytes),
    models: models?.replace(/\/+$/, ''),
    modelList: receipt.models.map(zoneModel).sort((a, b) => (a.repo < b.repo ? -1 : 1)),
    images: receipt.images
      .filter(({ chart }) => !chart)
      .map(zoneImage)
      .sort((a, b) => (order(a) < order(b) ? -1 : 1)),
  };
}

function order({ source, digest }: ZoneImage): string {
  return [source.registry, source.repository, source.tag ?? '', digest].join(' ');
}

function zoneImage({ reference, target, digest }: ReceivedImage): ZoneImage {
  return { source: placeOf(parseReference(reference)), target: placeOf(parseReference(target)), digest };
}

function placeOf({ registry, repository, tag }: Reference): ImagePlace {
  return { registry, repository, tag };
}

/** The files of a model lie in its snapshot, or with a plain layout right below its name. */
function zoneModel({ repo, commit, objects, image }: ReceivedModel): ZoneModel {
  const snapshot = `/snapshots/${commit}/`;
  const inSnapshot = objects.find(({ key }) => key.includes(snapshot))?.key;
  const folder =
    inSnapshot === undefined ? repo : inSnapshot.slice(0, inSnapshot.indexOf(snapshot) + snapshot.length - 1);
  const files = objects
    .filter(({ key }) => key.startsWith(`${folder}/`))
    .map(({ key, digest }) => ({ path: checkRelativePath(key.slice(folder.length + 1), 'the receipt'), digest }));
  return {
    repo,
    folder,
    files: files.sort((a, b) => (a.path < b.path ? -1 : 1)),
    image: image && zoneModelImage(image),
  };
}

function zoneModelImage({ reference, digest, form }: NonNullable<ReceivedModel['image']>): ZoneModel['image'] {
  const { registry, repository } = parseReference(reference);
  return { registry, reference: `${registry}/${repository}@${digest}`, form };
}
