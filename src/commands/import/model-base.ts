import type { Descriptor, Platform } from '../../core/descriptor.ts';
import type { Digest } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import type { ContentSource } from '../../core/ports.ts';
import { expectationOf, readVerified } from '../../core/stream.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { type GraphNode, readImage } from '../../oci/graph.ts';
import { isForeign, isIndex } from '../../oci/types.ts';
import type { Context } from '../context.ts';
import { openSource } from '../places/endpoint.ts';

/** An image that lies below the files of a model, and gives it what they have not: a shell. */
export interface BaseImage {
  digest: Digest;
  source: ContentSource;
  /** One for each processor. */
  variants: BaseVariant[];
}

interface BaseVariant {
  platform: Platform;
  layers: Descriptor[];
  /** Of its layers, unpacked. */
  diffIds: string[];
  /** Of the image, without what speaks of its layers. */
  config: Record<string, unknown>;
}

/** https://github.com/opencontainers/image-spec/blob/main/config.md */
const configSchema = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().optional(),
  rootfs: z.object({ diff_ids: z.array(z.string()) }),
});

/**
 * @param text as the source of `copy`
 * @throws E_USAGE for what is no image that a container is made of, and what reading it throws
 */
export async function openBase(text: string, context: Context): Promise<BaseImage> {
  const { source, wanted, shown } = await openSource(context, text);
  const { slots, signal } = context;
  const { root } = await readImage(source, await source.resolve(wanted), { slots, signal, referrers: false });
  const variants: BaseVariant[] = [];
  for (const node of isIndex(root.descriptor) ? root.children : [root]) {
    const variant = await variantOf(node, source, shown);
    if (variant?.platform.os === 'linux') variants.push(variant);
  }
  if (variants.length > 0) return { digest: root.descriptor.digest, source, variants };
  throw new MirrorError('E_USAGE', `\`${shown}\` is no image for Linux that a model can lie in`, {
    hint: 'name an image such as busybox',
    at: { side: 'source', item: shown },
  });
}

/** Undefined for what stands beside images in an index, such as attestations. */
async function variantOf(
  { descriptor, document }: GraphNode,
  source: ContentSource,
  shown: string,
): Promise<BaseVariant | undefined> {
  const [about, ...layers] = document.blobs;
  if (!about || !/\.(?:image\.config|container\.image)\.v1\+json$/.test(about.mediaType)) return undefined;
  const bytes = await readVerified(await source.fetch(about), expectationOf(about));
  const { rootfs, ...whole } = validate(configSchema, parseJson(bytes, shown), shown);
  if (rootfs.diff_ids.length !== layers.length || layers.some(isForeign)) return undefined;
  const { os, architecture, variant } = whole;
  const platform = descriptor.platform ?? { os, architecture, ...(variant === undefined ? {} : { variant }) };
  // It has a line for each layer.
  const config = { ...whole, history: undefined };
  return { platform, layers, diffIds: rootfs.diff_ids, config };
}
