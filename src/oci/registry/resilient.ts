import type { Descriptor } from '../../core/descriptor.ts';
import { MirrorError, toMirrorError } from '../../core/errors.ts';
import type { Content, ContentSource, ContentTarget } from '../../core/ports.ts';
import { progressBytes, resuming, type RetryOptions, retrying, type SharedPause } from '../../http/retry.ts';

/** A place may have a pause that it shares with others of its host. */
type Paced<T> = T & { readonly pause?: SharedPause };

/** A source whose requests are tried again, and whose streams go on where they broke. */
export function resilientSource(source: Paced<ContentSource>, retry: RetryOptions): ContentSource {
  const options = source.pause ? { ...retry, pause: source.pause } : retry;
  return {
    places: source.places,
    resolve: (reference) => retrying(() => source.resolve(reference), options),
    fetch: async (descriptor) => resuming(await source.fetch(descriptor), options),
    exists: (descriptor) => retrying(() => source.exists(descriptor), options),
    referrers: (subject) => retrying(() => source.referrers(subject), options),
    tags: () => retrying(() => source.tags(), options),
  };
}

/**
 * A target that tries again. Each try gets the same content, by which the target knows what it had begun; whether it
 * goes on there or from the first byte is its own affair.
 */
export function resilientTarget(target: Paced<ContentTarget>, retry: RetryOptions): ContentTarget {
  const options = target.pause ? { ...retry, pause: target.pause } : retry;
  return {
    ...resilientSource(target, retry),
    ...(target.local ? { local: true } : {}),
    ...(target.isEmpty ? { isEmpty: async () => retrying(async () => target.isEmpty?.() ?? false, options) } : {}),
    push: (expected: Descriptor, content: Content, signal) =>
      pushing(content, (watched) => target.push(expected, watched, signal), options, signal),
    ...(target.pushMade ? { pushMade: madePusher(target.pushMade.bind(target), options) } : {}),
    tag: (descriptor, reference) => untilSeen(() => retrying(() => target.tag(descriptor, reference), options)),
    attach: (subject, referrers) => untilSeen(() => retrying(() => target.attach(subject, referrers), options)),
  };
}

/** Knows from where it is read: a try that begins further on than those before shows that the target has kept something. */
class WatchedContent implements Content {
  readonly size: number;
  readonly #content: Content;
  #furthest = 0;
  #reached = 0;

  constructor(content: Content) {
    this.#content = content;
    this.size = content.size;
  }

  open(offset: number, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    this.#furthest = Math.max(this.#furthest, offset);
    return this.#content.open(offset, signal);
  }

  /** Whether it was read from further on than when this was last asked. */
  progressed(): boolean {
    const further = this.#furthest - this.#reached >= progressBytes;
    this.#reached = this.#furthest;
    return further;
  }
}

/** What a registry misses although it took it may come into sight; what stays out of sight in the end is missing. */
async function untilSeen<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { cause } = toMirrorError(error);
    throw cause instanceof MirrorError && cause.code === 'E_BLOB_UNKNOWN' ? cause : error;
  }
}

type PushMade = NonNullable<ContentTarget['pushMade']>;

function madePusher(push: PushMade, options: RetryOptions): PushMade {
  return (name, content, signal) => pushing(content, (watched) => push(name, watched, signal), options, signal);
}

/** A source's error is not tried again here: that has been done where it could help, and must not begin from its first byte. */
async function pushing<T>(
  content: Content,
  push: (watched: Content) => Promise<T>,
  options: RetryOptions,
  signal: AbortSignal | undefined,
): Promise<T> {
  const watched = new WatchedContent(content);
  const tried = (): Promise<{ done: T } | { error: MirrorError }> =>
    push(watched).then(
      (done) => ({ done }),
      (error: unknown) => {
        const known = toMirrorError(error);
        if (known.at.side === 'source') return { error: known };
        throw known;
      },
    );
  const outcome = await untilSeen(() => retrying(tried, options, signal, () => watched.progressed()));
  if ('error' in outcome) throw outcome.error;
  return outcome.done;
}
