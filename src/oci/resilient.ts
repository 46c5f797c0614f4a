import type { Descriptor } from '../core/descriptor.ts';
import { type MirrorError, toMirrorError } from '../core/errors.ts';
import type { Content, ContentSource, ContentTarget } from '../core/ports.ts';
import { resuming, type RetryOptions, retrying } from '../http/retry.ts';

/** A source whose requests are tried again, and whose streams go on where they broke. */
export function resilientSource(source: ContentSource, options: RetryOptions): ContentSource {
  return {
    resolve: (reference) => retrying(() => source.resolve(reference), options),
    fetch: async (descriptor) => resuming(await source.fetch(descriptor), options),
    exists: (descriptor) => retrying(() => source.exists(descriptor), options),
    referrers: (subject) => retrying(() => source.referrers(subject), options),
    tags: () => retrying(() => source.tags(), options),
  };
}

/** A target that tries again; each try opens the content anew and begins a fresh upload. */
export function resilientTarget(target: ContentTarget, options: RetryOptions): ContentTarget {
  return {
    ...resilientSource(target, options),
    ...(target.local ? { local: true } : {}),
    push: async (expected: Descriptor, content: Content, signal) => {
      const givenUp = await retrying(() => pushUnlessBroken(target, expected, content, signal), options, signal);
      if (givenUp) throw givenUp;
    },
    tag: (descriptor, reference) => retrying(() => target.tag(descriptor, reference), options),
    attach: (subject, referrers) => retrying(() => target.attach(subject, referrers), options),
  };
}

/** Returns the error of a source: it has been tried again where that could help, and must not begin from its first byte. */
async function pushUnlessBroken(
  target: ContentTarget,
  expected: Descriptor,
  content: Content,
  signal: AbortSignal | undefined,
): Promise<MirrorError | undefined> {
  try {
    await target.push(expected, content, signal);
    return undefined;
  } catch (error) {
    const known = toMirrorError(error);
    if (known.at.side === 'source') return known;
    throw known;
  }
}
