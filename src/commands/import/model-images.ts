import type { ModelItem } from '../../bundle/records/inventory.ts';
import { formatReceipt, type NewReceipt, type ReceivedModel } from '../../bundle/records/receipt.ts';
import { type Descriptor, totalSize } from '../../core/descriptor.ts';
import { sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import type { ContentTarget } from '../../core/ports.ts';
import type { ReportItem } from '../../core/report.ts';
import { contentOf, expectationOf, readVerified } from '../../core/stream.ts';
import { refuseCollisions } from '../../manifest/placement.ts';
import { AssembledImage } from '../../oci/assembled.ts';
import { copyImage } from '../../oci/copy/graph.ts';
import { descriptorsOf, type ImageGraph, readImage } from '../../oci/graph.ts';
import { isTag, parseReference, type Reference } from '../../oci/reference.ts';
import { resolved } from '../../oci/side.ts';
import { isManifest, mediaTypes, parseManifest } from '../../oci/types.ts';
import { attempt } from '../attempt.ts';
import { nameOf } from '../bundle/item.ts';
import type { Context } from '../context.ts';
import { openRepository, type TargetEndpoint } from '../places/endpoint.ts';
import type { MediaToCome } from './media.ts';
import { pushModel } from './model-push.ts';
import type { ModelSource } from './placed-object.ts';
import { type ImportRun, noteBrought } from './run.ts';
import { openBase } from './model-base.ts';
import { identityAnnotation, identityOf, type ModelForm, type OciForm } from './model-image.ts';
import type { ModelFileContent } from './model-layers.ts';

/** What was asked for of models in a registry. */
export interface FormOptions {
  /** What they are there; an image when not given. */
  ociForm?: OciForm | undefined;
  /** An image whose layers lie below the files, as `copy` names its source. */
  ociBase?: string | undefined;
}

/** Models that become images of a registry. */
export interface ModelImages extends ModelForm {
  /** `HOST[:PORT][/PREFIX]` */
  place: string;
  models: { item: ModelItem; target: Reference }[];
}

/**
 * Decides where each model goes: `PREFIX/org/name`, in small letters as registries want them.
 * @param url `oci://HOST[:PORT][/PREFIX]`; for any other there are none
 * @throws E_USAGE for a place that no registry has, E_MANIFEST for two models in one place, and what opening the base throws
 */
export async function placeModels(
  url: string | undefined,
  { ociForm, ociBase }: FormOptions,
  source: ModelSource,
  context: Context,
): Promise<ModelImages | undefined> {
  if (url?.startsWith('oci://') !== true) {
    if (ociForm === undefined && ociBase === undefined) return undefined;
    const flag = ociForm === undefined ? '--oci-base' : '--oci-form';
    throw new MirrorError('E_USAGE', `\`${flag}\` goes with \`--models oci://HOST/PREFIX\``);
  }
  if (ociForm === 'modelpack' && ociBase !== undefined)
    throw new MirrorError('E_USAGE', '`--oci-base` is for images, and `--oci-form modelpack` makes artifacts');
  const place = url.slice('oci://'.length).replace(/\/+$/, '');
  const models = source.inventory.items
    .filter((item) => item.kind === 'model')
    .map((item) => ({ item, target: parseReference(`${place}/${item.repo.toLowerCase()}:${item.commit}`) }));
  refuseCollisions(
    models.map(({ item, target }) => ({
      reference: nameOf(item),
      to: target.repository,
      tag: item.commit,
      digest: identityOf(item, { form: 'image' }),
    })),
  );
  const base = ociBase === undefined ? undefined : await openBase(ociBase, context);
  return { place, form: ociForm ?? 'image', base, models };
}

/** What would move. One request or two for each model. */
export async function planModelImages({ models, ...form }: ModelImages, context: Context): Promise<ReportItem[]> {
  const items: ReportItem[] = [];
  for (const { item, target: place } of models) {
    const { target, name } = await openRepository(context, place, item.commit);
    const found = await findModel(target, item, form);
    const bytes = found ? 0 : totalSize(item.files);
    const state = found ? 'present' : 'planned';
    items.push({ kind: 'model', name: nameOf(item), state, bytes, detail: { target: name } });
  }
  return items;
}

/** Pushes each model that its registry does not have; one that fails is an item, and does not keep the others. */
export async function importModelImages(run: ImportRun<ModelSource>, { models, ...form }: ModelImages): Promise<void> {
  const { items, receipt, context } = run;
  for (const { item, target: place } of models) {
    const name = nameOf(item);
    const target = await openRepository(context, place, item.commit);
    context.report({ type: 'stage', text: `importing ${name} to ${target.name}` });
    await attempt(items, 'model', name, async () => {
      const found = await findModel(target.target, item, form);
      const brought = found
        ? { graph: await readImage(target.target, found, { slots: context.slots, referrers: false }), bytes: 0 }
        : await bring(run, item, form, target.target);
      await tagRefs(item, brought.graph.root.descriptor, target.target);
      receipt.models.push(received(item, form.form, target, brought.graph));
      const { bytes } = brought;
      const { digest } = brought.graph.root.descriptor;
      noteBrought(run, { kind: 'model', name, target: target.name, digest, bytes, isNew: !found });
    });
  }
}

/** What the commit's tag names, when it was made of the same files. The tag comes last, so it is whole. */
async function findModel(target: ContentTarget, item: ModelItem, form: ModelForm): Promise<Descriptor | undefined> {
  const root = await resolved(target, item.commit);
  if (!root || !isManifest(root)) return undefined;
  const bytes = await readVerified(await target.fetch(root), expectationOf(root));
  const { annotations } = parseManifest(bytes, root.mediaType, root.digest);
  return annotations[identityAnnotation] === identityOf(item, form) ? root : undefined;
}

async function bring(
  { reader, media, context }: ImportRun<ModelSource>,
  item: ModelItem,
  form: ModelForm,
  target: ContentTarget,
): Promise<{ graph: ImageGraph; bytes: number }> {
  return pushModel(item, form, contentsOf(item, reader, media), target, context);
}

/** An image is made of all files of a model at once. @throws E_MEDIUM, E_BASE_MISSING */
function contentsOf(item: ModelItem, source: ModelSource, media: MediaToCome): ModelFileContent[] {
  const blobs = item.files.map(({ digest }) => source.find(digest));
  if (blobs.includes(undefined))
    throw new MirrorError('E_BASE_MISSING', `this delta leaves out files of \`${item.repo}\`, and an image needs all`, {
      hint: 'have the bundle made without `--base` for a zone that keeps its models in a registry',
      at: { side: 'source', item: item.repo },
    });
  const lacking = blobs.flatMap((blob) => (blob && source.lacking(blob).length > 0 ? [blob] : []));
  media.refuse(lacking, nameOf(item), source);
  return item.files.map((file) => ({ ...file, content: source.blob(file.digest) }));
}

/** Branches and tags of the hub, beside the commit; what no tag of a registry can be called is left out. */
async function tagRefs({ refs }: ModelItem, root: Descriptor, target: ContentTarget): Promise<void> {
  for (const ref of refs.filter(isTag))
    if ((await resolved(target, ref))?.digest !== root.digest) await target.tag(root, ref);
}

function received(item: ModelItem, form: OciForm, { name }: TargetEndpoint, graph: ImageGraph): ReceivedModel {
  const { repo, commit, files } = item;
  const { digest } = graph.root.descriptor;
  const digests = descriptorsOf(graph).map((each) => each.digest);
  return {
    repo,
    commit,
    objects: files.map((file) => ({ key: `${repo}/${file.path}`, digest: file.digest, size: file.size })),
    image: { reference: name, form, digest, digests: digests.sort() },
  };
}

/** The receipt of an import, as an artifact beside the models. */
export async function putReceiptImage({ place }: ModelImages, receipt: NewReceipt, context: Context): Promise<void> {
  const { name } = receipt.bundle;
  const source = new AssembledImage();
  const bytes = Buffer.from(formatReceipt(receipt));
  const layer = source.add(
    {
      mediaType: 'application/json',
      digest: sha256(bytes),
      size: bytes.length,
      annotations: { 'org.opencontainers.image.title': `${name}.receipt.json` },
    },
    contentOf(bytes),
  );
  const config = source.addDocument('application/vnd.oci.empty.v1+json', {});
  const mediaType = mediaTypes.ociManifest;
  const artifactType = 'application/vnd.sie-mirror.receipt.v1+json';
  const document = { schemaVersion: 2, mediaType, artifactType, config, layers: [layer] };
  const root = source.addDocument(mediaType, document, { artifactType });
  const { target } = await openRepository(context, parseReference(`${place}/sie-mirror-receipts:${name}`), name);
  const graph = await readImage(source, root, { slots: context.slots, referrers: false });
  await copyImage(source, target, graph, name, context);
}
