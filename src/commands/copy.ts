import { type Report, makeReport } from '../core/report.ts';
import { formatBytes } from '../core/text.ts';
import { type CopyTally, copyImage, descriptorsOf, type ImageGraph, readImage, resolved } from '../oci/copy-graph.ts';
import type { ContentSource, ContentTarget } from '../core/ports.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Context } from './context.ts';
import { openSource, openTarget } from './endpoint.ts';
import type { TrustOptions } from './sealed.ts';

export interface CopyCommandOptions extends TrustOptions {
  source: string;
  target: string;
  referrers: boolean;
}

/** One image with everything that belongs to it, from a registry or layout to another. */
export async function copy(options: CopyCommandOptions, context: Context): Promise<Report> {
  const from = await openSource(context, options.source, options);
  const to = await openTarget(context, options.target, from);
  context.report({ type: 'stage', text: `copying ${from.shown} to ${to.name}` });
  const root = await from.source.resolve(from.wanted);
  const tally = await moveImage(from.source, to.target, root, to.reference, options.referrers, context);
  const state = tally.copied === 0 ? 'present' : 'done';
  const detail = { source: from.shown, target: to.name, mediaType: root.mediaType, ...tally };
  const done =
    state === 'present'
      ? 'was there already, nothing moved'
      : `${formatBytes(tally.copiedBytes)} moved, ${formatBytes(tally.presentBytes)} were there`;
  return makeReport(
    'copy',
    [{ kind: 'image', name: to.name, state, digest: root.digest, bytes: tally.copiedBytes, detail }],
    { copied: tally.copied, bytes: tally.copiedBytes },
    [`${to.name}  ${root.digest}`, done],
  );
}

/** Moves an image; when nothing about it can have changed, nothing of it is read. */
export async function moveImage(
  source: ContentSource,
  target: ContentTarget,
  root: Descriptor,
  reference: string,
  referrers: boolean,
  context: Context,
): Promise<CopyTally> {
  if (!referrers && (await resolved(target, reference))?.digest === root.digest)
    return { copied: 0, copiedBytes: 0, present: 1, presentBytes: root.size };
  return copyImage(source, target, await readWhole(source, root, referrers, context), reference, context);
}

/** The graph of an image, and how much of it there is for the progress. */
export async function readWhole(
  source: ContentSource,
  root: Descriptor,
  referrers: boolean,
  context: Context,
): Promise<ImageGraph> {
  const image = await readImage(source, root, { slots: context.slots, referrers, signal: context.signal });
  context.report({ type: 'total', bytes: descriptorsOf(image).reduce((sum, { size }) => sum + size, 0) });
  return image;
}
