import type { Descriptor } from '../../core/descriptor.ts';
import { MirrorError } from '../../core/errors.ts';
import { plural } from '../../core/text.ts';
import type { Content, ContentSource } from '../../core/ports.ts';
import { type HttpClient, redactUrl, redirectTarget } from '../../http/client.ts';
import { failure } from '../../http/failure.ts';
import { openRange } from '../../http/range.ts';
import { resuming, type RetryOptions, retrying } from '../../http/retry.ts';
import type { GraphNode } from '../graph.ts';
import { isForeign } from '../types.ts';

/**
 * A source that also gives layers which stay with their owner: from the registry where it has them, else from the
 * addresses that the descriptor names, without credentials.
 * https://github.com/opencontainers/image-spec/blob/main/descriptor.md#properties
 */
export function withForeignLayers(source: ContentSource, http: HttpClient, retry: RetryOptions): ContentSource {
  return {
    places: source.places,
    resolve: (reference) => source.resolve(reference),
    exists: (descriptor) => source.exists(descriptor),
    referrers: (subject) => source.referrers(subject),
    tags: () => source.tags(),
    fetch: async (descriptor) => {
      if (!isForeign(descriptor) || (await source.exists(descriptor))) return source.fetch(descriptor);
      return fromOwner(descriptor, http, retry);
    },
  };
}

/** @throws E_NOT_FOUND when no address gives it, E_PROTOCOL when none may be asked */
async function fromOwner(descriptor: Descriptor, http: HttpClient, retry: RetryOptions): Promise<Content> {
  const problems: MirrorError[] = [];
  for (const text of descriptor.urls ?? []) {
    try {
      const url = ownersUrl(text, descriptor, http);
      await retrying(() => probe(url, descriptor, http), retry);
      return resuming(contentAt(url, descriptor, http), retry);
    } catch (error) {
      if (!(error instanceof MirrorError) || error.code === 'E_ABORTED') throw error;
      problems.push(error);
    }
  }
  const [first] = problems;
  throw new MirrorError(
    first?.code ?? 'E_NOT_FOUND',
    `the foreign layer \`${descriptor.digest}\` cannot be had: ${problems.map(({ message }) => message).join('; ')}`,
    {
      hint: 'leave out `--include-foreign`: then it stays a reference to its owner',
      at: { ...first?.at, side: 'source', item: descriptor.digest },
    },
  );
}

/** Plain HTTP only to hosts that the user named as insecure. */
function ownersUrl(text: string, { digest }: Descriptor, http: HttpClient): URL {
  const at = { side: 'source', item: digest } as const;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && http.schemeOf(url.host) === 'http');
  if (!url || !secure || url.username !== '' || url.password !== '')
    throw new MirrorError('E_PROTOCOL', `\`${url ? redactUrl(url) : 'its address'}\` is not an HTTPS address`, { at });
  // The same rule as for a redirect: no manifest has business sending us to a link-local address.
  return redirectTarget(new URL(`${url.protocol}//registry.invalid`), url.href, at);
}

async function probe(url: URL, { digest }: Descriptor, http: HttpClient): Promise<void> {
  const at = { side: 'source', item: digest } as const;
  const response = await http.send({ method: 'HEAD', url, at });
  if (response.status >= 400 && response.status !== 405) throw await failure(response, at);
  await response.discard();
}

function contentAt(url: URL, { digest, size }: Descriptor, http: HttpClient): Content {
  const at = { side: 'source', item: digest } as const;
  return {
    size,
    open: (offset, signal) =>
      openRange((headers) => http.send({ method: 'GET', url, headers, signal, at }), offset, size, at),
  };
}

/** Says of a manifest with addresses of layers what some registries have against it, which they call a fault of their own. @throws E_REFUSED, and what `work` throws */
export async function refusedForAddresses(node: GraphNode, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const count = [...node.foreign, ...node.blobs.filter(isForeign)].length;
    if (!(error instanceof MirrorError && error.at.status === 500) || count === 0 || error.at.side !== 'target')
      throw error;
    throw new MirrorError(
      'E_REFUSED',
      `the target does not take \`${node.descriptor.digest}\`, which names addresses for ${plural(count, 'foreign layer')}: ${error.message}`,
      {
        hint: 'have it allowed there; registries that are `distribution` take none unless their configuration has `validation: {manifests: {urls: {allow: [...]}}}`',
        at: error.at,
        cause: error,
      },
    );
  }
}
