import type { ContentTarget } from '../../core/ports.ts';

/** A target of which a manifest that is there proves nothing: all that is below it is asked for, as registries lose blobs. */
export function doubted(target: ContentTarget): ContentTarget {
  return {
    local: true,
    places: target.places,
    resolve: async (reference) => target.resolve(reference),
    fetch: async (descriptor) => target.fetch(descriptor),
    exists: async (descriptor) => target.exists(descriptor),
    referrers: async (subject) => target.referrers(subject),
    tags: async () => target.tags(),
    push: async (expected, content, signal) => target.push(expected, content, signal),
    tag: async (descriptor, reference) => target.tag(descriptor, reference),
    attach: async (subject, referrers) => target.attach(subject, referrers),
  };
}
