import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { plural } from '../core/text.ts';

/** The error for referrers that a source lists and does not have. @param before what is to be said first */
export function lostReferrers(lost: readonly Descriptor[], before = ''): MirrorError {
  const digests = [...new Set(lost.map(({ digest }) => digest))];
  const named = digests.slice(0, 3).map((digest) => `\`${digest}\``);
  const more = digests.length > 3 ? ', ...' : '';
  return new MirrorError(
    'E_NOT_FOUND',
    `${before}the source lists ${plural(digests.length, 'referrer')} that it does not have (${named.join(', ')}${more})`,
    {
      hint: 'have them pushed there again, or taken off the list; `--no-referrers` copies the image without any',
      at: { side: 'source', item: digests[0] ?? '' },
    },
  );
}

/** What a manifest names, and its source does not have, is nothing that somebody has spelt wrongly. */
export function lostPart(error: unknown, digest: Digest): unknown {
  if (!(error instanceof MirrorError) || error.code !== 'E_NOT_FOUND' || error.at.side !== 'source') return error;
  return new MirrorError('E_NOT_FOUND', `the source does not have \`${digest}\`, which the image names`, {
    hint: 'it was deleted there, or never arrived: have the image pushed there again, or copy it from another place',
    at: error.at,
    cause: error,
  });
}
