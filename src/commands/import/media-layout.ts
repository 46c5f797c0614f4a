import type { BundleBlob, ImageItem } from '../../bundle/records/inventory.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import type { Descriptor } from '../../core/descriptor.ts';
import { forEachBySize, forEachLimited, requestsAtOnce } from '../../core/limit.ts';
import type { ContentTarget, FileTree } from '../../core/ports.ts';
import { contentOf, expectationOf, readVerified } from '../../core/stream.ts';
import { parseJson } from '../../core/validate.ts';
import { parseLayoutIndex } from '../../oci/layout/index-file.ts';
import { layoutFile, layoutIndexFile, OciLayout } from '../../oci/layout/layout.ts';
import type { ImportRun } from './run.ts';

/** Everything that one image is read from: what is here, and what other media hold. */
interface ImageBlobs {
  here: BundleBlob[];
  lacking: BundleBlob[];
}

/** Which blobs of an image, and files of the layout around it, are here, and which on media that are not. */
export function blobsOver({ digests }: ImageItem, reader: BundleReader): ImageBlobs {
  const names = [`oci/${layoutFile}`, `oci/${layoutIndexFile}`, ...digests];
  const blobs = names.flatMap((name) => reader.find(name) ?? []);
  const isHere = (blob: BundleBlob): boolean => reader.lacking(blob).length === 0;
  return { here: blobs.filter(isHere), lacking: blobs.filter((blob) => !isHere(blob)) };
}

/** Any bytes, manifests too, can wait in a registry as a blob. */
function asBlob({ digest, size }: BundleBlob): Descriptor {
  return { mediaType: 'application/octet-stream', digest, size };
}

/**
 * The layout of one image whose volumes come one medium after the other: what is here goes to the registry as blobs,
 * manifests too, and what an earlier medium brought is read back from there.
 * @throws E_MEDIUM when something is in neither; reading it throws E_CORRUPT for an index.json that is none
 */
export async function layoutOverMedia(
  { reader, media, context }: Pick<ImportRun, 'reader' | 'media' | 'context'>,
  item: ImageItem,
  { here, lacking }: ImageBlobs,
  target: ContentTarget,
): Promise<OciLayout> {
  const missing: BundleBlob[] = [];
  await forEachLimited(lacking, requestsAtOnce(context.slots), async (blob) => {
    if (!(await target.exists(asBlob(blob)))) missing.push(blob);
  });
  if (missing.length > 0) {
    await forEachBySize(here, context.slots, async (blob) => {
      if (!(await target.exists(asBlob(blob)))) await target.push(asBlob(blob), reader.content(blob), context.signal);
    });
    media.refuse(missing, item.reference, reader);
  }
  const inVolumes = reader.tree('oci');
  const tree: FileTree = {
    file: async (path) => {
      const blob = reader.find(`oci/${path}`);
      if (!blob) return undefined;
      const isHere = reader.lacking(blob).length === 0;
      return isHere ? inVolumes.file(path) : target.fetch(asBlob(blob));
    },
  };
  return new OciLayout(
    { file: (path) => (path === layoutIndexFile ? ownIndex(tree, item, reader) : tree.file(path)) },
    item.reference,
  );
}

/** index.json without what belongs to other images, which need not be at hand. */
async function ownIndex(tree: FileTree, { digests }: ImageItem, reader: BundleReader): ReturnType<FileTree['file']> {
  const blob = reader.find(`oci/${layoutIndexFile}`);
  const content = await tree.file(layoutIndexFile);
  if (!blob || !content) return undefined;
  const text = await readVerified(content, expectationOf(blob, blob.path));
  const index = parseLayoutIndex(parseJson(text, blob.path), blob.path);
  const own = new Set(digests);
  const manifests = index.manifests.filter(({ digest }) => own.has(digest));
  return contentOf(Buffer.from(JSON.stringify({ ...index, manifests })));
}
