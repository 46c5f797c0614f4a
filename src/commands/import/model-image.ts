import type { ModelItem } from '../../bundle/records/inventory.ts';
import type { Descriptor } from '../../core/descriptor.ts';
import { type Digest, sha256 } from '../../core/digest.ts';
import { AssembledImage } from '../../oci/assembled.ts';
import { mediaTypes } from '../../oci/types.ts';
import type { BaseImage } from './model-base.ts';
import { byPath, layerContent, type ModelFileContent, planLayers } from './model-layers.ts';

/** How a model lies in a registry: as an image with its files below `models/`, or as an artifact of the ModelPack specification. */
export type OciForm = 'image' | 'modelpack';

/** The same, and what lies below the files of an image. */
export interface ModelForm {
  form: OciForm;
  base?: BaseImage | undefined;
}

/** Of the document that a tag names: what went into it, so that it need not be made again to be compared. */
export const identityAnnotation = 'dev.sie-mirror.model';

/** Changes whenever the same files would become another image. */
const layoutVersion = 1;

/** Whatever decides what the image is. */
export function identityOf({ repo, commit, license, files }: ModelItem, { form, base }: ModelForm): Digest {
  const list = byPath([...files]).map(({ path, digest, size }) => [path, digest, size]);
  const below = base ? [base.digest] : [];
  return sha256(JSON.stringify([layoutVersion, form, repo, commit, license ?? '', list, ...below]));
}

/** A model as an image that can be copied. */
export interface ModelImage {
  source: AssembledImage;
  root: Descriptor;
}

/** Finds out the digest of each of these layers, in their order. */
export type LayerDigests = (layers: readonly (readonly ModelFileContent[])[]) => Promise<Digest[]>;

/** The same model always becomes the same image. @throws what `digestsOf` throws */
export async function assembleModel(
  item: ModelItem,
  files: readonly ModelFileContent[],
  form: ModelForm,
  digestsOf: LayerDigests,
): Promise<ModelImage> {
  const annotations = {
    'org.opencontainers.image.title': item.repo,
    'org.opencontainers.image.revision': item.commit,
    ...(item.license === undefined ? {} : { 'org.opencontainers.image.licenses': item.license }),
    [identityAnnotation]: identityOf(item, form),
  };
  if (form.form === 'modelpack') return asModelPack(item, files, annotations);
  return asImage(files, annotations, form.base, digestsOf);
}

export const layerType = 'application/vnd.oci.image.layer.v1.tar';
const configType = 'application/vnd.oci.image.config.v1+json';
/** A node takes no image for another processor, though there is nothing here to be run. */
const bare: BaseImage['variants'] = ['amd64', 'arm64'].map((architecture) => ({
  platform: { os: 'linux', architecture },
  layers: [],
  diffIds: [],
  config: { architecture, os: 'linux', config: {} },
}));

async function asImage(
  files: readonly ModelFileContent[],
  annotations: Record<string, string>,
  base: BaseImage | undefined,
  digestsOf: LayerDigests,
): Promise<ModelImage> {
  const source = new AssembledImage();
  const plans = planLayers(files);
  const digests = await digestsOf(plans);
  const layers = plans.map((plan, index) => {
    const content = layerContent(plan);
    return source.add({ mediaType: layerType, digest: digests[index] as Digest, size: content.size }, content);
  });
  for (const layer of base?.variants.flatMap((variant) => variant.layers) ?? [])
    if (base) source.add(layer, await base.source.fetch(layer));
  const manifests = (base?.variants ?? bare).map(({ platform, layers: below, diffIds, config: about }) => {
    const rootfs = { type: 'layers', diff_ids: [...diffIds, ...layers.map(({ digest }) => digest)] };
    const config = source.addDocument(configType, { ...about, rootfs });
    const mediaType = mediaTypes.ociManifest;
    const document = { schemaVersion: 2, mediaType, config, layers: [...below, ...layers], annotations };
    return source.addDocument(mediaType, document, { platform });
  });
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests, annotations };
  return { source, root: source.addDocument(mediaTypes.ociIndex, index) };
}

/** https://github.com/modelpack/model-spec/blob/main/docs/spec.md */
function asModelPack(
  item: ModelItem,
  files: readonly ModelFileContent[],
  annotations: Record<string, string>,
): ModelImage {
  const source = new AssembledImage();
  const sorted = byPath(files);
  const layers = sorted.map(({ path, digest, size, content }) =>
    source.add(
      {
        mediaType: `application/vnd.cncf.model.${kindOf(path)}.v1.raw`,
        digest,
        size,
        annotations: { 'org.cncf.model.filepath': path, 'org.opencontainers.image.title': path },
      },
      content,
    ),
  );
  const config = source.addDocument('application/vnd.cncf.model.config.v1+json', {
    descriptor: {
      name: item.repo,
      revision: item.commit,
      ...(item.license === undefined ? {} : { licenses: [item.license] }),
    },
    modelfs: { type: 'layers', diffIds: sorted.map(({ digest }) => digest) },
    config: {},
  });
  const mediaType = mediaTypes.ociManifest;
  const artifactType = 'application/vnd.cncf.model.manifest.v1+json';
  const document = { schemaVersion: 2, mediaType, artifactType, config, layers, annotations };
  return { source, root: source.addDocument(mediaType, document, { artifactType }) };
}

function kindOf(path: string): 'weight' | 'weight.config' | 'doc' | 'code' {
  const name = path.slice(path.lastIndexOf('/') + 1).toLowerCase();
  if (/\.(?:safetensors|gguf|bin|pt|pth|onnx|onnx_data|h5|ckpt|msgpack|npz|engine|model)$/.test(name)) return 'weight';
  if (/\.(?:md|txt|pdf|rst)$|^(?:licen[cs]e|notice|readme)/.test(name) && !/vocab|merges/.test(name)) return 'doc';
  return name.endsWith('.py') ? 'code' : 'weight.config';
}
