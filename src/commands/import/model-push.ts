import type { ModelItem } from '../../bundle/records/inventory.ts';
import { type Descriptor, totalSize } from '../../core/descriptor.ts';
import { type Digest, sha256 } from '../../core/digest.ts';
import { placeError } from '../../core/errors.ts';
import type { Reporter } from '../../core/events.ts';
import { forEachBySize, forEachLimited } from '../../core/limit.ts';
import type { ContentTarget } from '../../core/ports.ts';
import { contentOf, counted } from '../../core/stream.ts';
import { Destination } from '../../oci/copy/pool.ts';
import { copyImage } from '../../oci/copy/graph.ts';
import { type ImageGraph, readImage } from '../../oci/graph.ts';
import { fromSource } from '../../oci/side.ts';
import type { Context } from '../context.ts';
import { assembleModel, identityOf, type LayerDigests, layerType, type ModelForm } from './model-image.ts';
import { checkedLayer, layerContent, layerDigest, type ModelFileContent } from './model-layers.ts';

type PushMade = NonNullable<ContentTarget['pushMade']>;

/**
 * A model becomes an image of a registry, with each byte read once: layers get their digests while they go there. Where
 * an earlier run has begun the same, they are read for their digests first, so that nothing moves twice.
 * @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH, E_MEDIUM, and what the registry says
 */
export async function pushModel(
  item: ModelItem,
  form: ModelForm,
  files: readonly ModelFileContent[],
  target: ContentTarget,
  context: Context,
): Promise<{ graph: ImageGraph; bytes: number }> {
  const pushMade =
    form.form === 'image' && (await begin(item, form, target, context)) ? target.pushMade?.bind(target) : undefined;
  const destination = new Destination();
  const digestsOf = pushMade ? pushing(pushMade, destination, context) : hashing(target, destination, context);
  const { source, root } = await assembleModel(item, files, form, digestsOf);
  const { slots, signal } = context;
  const graph = await readImage(source, root, { slots, referrers: false, signal });
  // What has gone there already is no more work.
  const report: Reporter = pushMade ? withoutBytes(context.report) : context.report;
  const { tally } = await copyImage(source, target, graph, item.commit, { slots, signal, report, destination });
  const pushed = pushMade ? totalSize(files) : 0;
  return { graph, bytes: pushed + tally.copiedBytes };
}

/** Leaves a blob that says which image is being made. @returns false when an earlier run has left it */
async function begin(item: ModelItem, form: ModelForm, target: ContentTarget, { signal }: Context): Promise<boolean> {
  const bytes = Buffer.from(JSON.stringify({ 'dev.sie-mirror.begun': identityOf(item, form) }));
  const mark: Descriptor = { mediaType: 'application/json', digest: sha256(bytes), size: bytes.length };
  if (!target.pushMade || (await target.exists(mark))) return false;
  await target.push(mark, contentOf(bytes), signal);
  return true;
}

function pushing(push: PushMade, destination: Destination, context: Context): LayerDigests {
  const { report, signal, slots } = context;
  return async (plans) => {
    const layers = plans.map((files, index) => {
      const name = files[0]?.path ?? '';
      const content = fromSource(checkedLayer(files), name);
      return {
        index,
        name,
        size: content.size,
        content: counted(content, (bytes) => report({ type: 'bytes', bytes })),
      };
    });
    report({ type: 'total', bytes: totalSize(layers) });
    const digests: Digest[] = [];
    await forEachBySize(layers, slots, async ({ index, name, content }) => {
      const digest = await push(name, content, signal);
      await destination.once(digest, () => Promise.resolve());
      digests[index] = digest;
    });
    return digests;
  };
}

/** What an earlier run has brought is asked for, however small it is. */
function hashing(target: ContentTarget, destination: Destination, context: Context): LayerDigests {
  const { report, signal, threads } = context;
  const see = (bytes: number): void => report({ type: 'bytes', bytes });
  return async (plans) => {
    report({ type: 'total', bytes: plans.reduce((sum, files) => sum + layerContent(files).size, 0) });
    const digests: Digest[] = [];
    await forEachLimited([...plans.entries()], threads, async ([index, files]) => {
      const digest = await layerDigest(files, see, signal).catch((error: unknown) => {
        throw placeError(error, { side: 'source' });
      });
      digests[index] = digest;
      const layer = { mediaType: layerType, digest, size: layerContent(files).size };
      if (await target.exists(layer)) await destination.once(digest, () => Promise.resolve());
    });
    return digests;
  };
}

function withoutBytes(report: Reporter): Reporter {
  return (event) => {
    if (event.type !== 'total' && event.type !== 'bytes') report(event);
  };
}
