import type { Descriptor } from '../../core/descriptor.ts';
import { type Digest, isDigest } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import type { ContentSource, ContentTarget } from '../../core/ports.ts';
import { type Choice, chooseRoot } from './choose-platforms.ts';
import { type CopyOptions, CopyRun, type CopyTally } from './run.ts';
import { GraphReader, type ImageGraph } from '../graph.ts';
import type { LeftOut } from '../lost.ts';

export interface ImageOptions extends CopyOptions {
  choice: Choice;
  /** Digest that the image must have, where the target names it beside a tag. */
  expected?: Digest | undefined;
  referrers: boolean;
  includeForeign: boolean;
}

/**
 * The one copy algorithm. Skips what the target has, pushes children before parents, then referrers, and tags last, so
 * that whatever can be found at the target is whole. Waiting for children holds no slot.
 * @param reference tag or digest under which the root is to be found
 * @returns also what belongs to the image and was not taken, when all else is there
 */
export async function copyImage(
  source: ContentSource,
  target: ContentTarget,
  image: ImageGraph,
  reference: string,
  options: CopyOptions,
): Promise<{ tally: CopyTally; leftOut: LeftOut[] }> {
  const run = new CopyRun(source, target, reference, options);
  await run.all([() => run.node(image.root)]);
  const leftOut = await run.finish(image);
  return { tally: run.tally, leftOut };
}

/**
 * The same while the image is being read: blobs of a manifest move as soon as it is there.
 * @param root as the source resolved it
 * @returns also what belongs to the image and could not be had, or was not taken, when all else is there
 * @throws what `readImage` throws; E_USAGE when the target is a digest that the image does not have
 */
export async function readAndCopy(
  source: ContentSource,
  target: ContentTarget,
  root: Descriptor,
  reference: string,
  options: ImageOptions,
): Promise<{ image: ImageGraph; tally: CopyTally; leftOut: LeftOut[] }> {
  const whole = options.choice.platforms.length === 0 && !options.choice.sparse;
  const wanted = options.expected ?? reference;
  if (whole) checkReference(root, wanted);
  const run = new CopyRun(source, target, reference, options);
  const reader = new GraphReader(source, {
    ...options,
    requests: options.pool?.reads,
    signal: run.signal,
    // Of a part of an image it is not known what the root will be before all has been chosen.
    ...(whole ? { onManifest: (manifest) => run.begin(manifest) } : {}),
  });
  try {
    const node = await run.one(() => chooseRoot(reader, root, options.choice));
    run.isRead();
    checkReference(node.descriptor, wanted);
    const [image] = await Promise.all([run.one(() => reader.image(node)), run.one(() => run.node(node))]);
    const leftOut = await run.finish(image);
    return { image, tally: run.tally, leftOut };
  } finally {
    await run.settled();
  }
}

/** @throws E_USAGE when something is to be found under the digest of something else */
export function checkReference(root: Descriptor, reference: string): void {
  if (isDigest(reference) && reference !== root.digest)
    throw new MirrorError('E_USAGE', `the target is to be \`${reference}\`, the image is \`${root.digest}\``, {
      hint: 'name the image that has this digest, or leave the digest out of the target',
      at: { side: 'target', item: reference },
    });
}

/** Whether it is what {@link checkReference} throws: a mistake about one image, and no other. */
export function isOtherImage({ code, at }: MirrorError): boolean {
  return code === 'E_USAGE' && at.side === 'target' && isDigest(at.item ?? '');
}
