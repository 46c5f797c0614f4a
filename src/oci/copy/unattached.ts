import { MirrorError } from '../../core/errors.ts';
import { plural } from '../../core/text.ts';
import type { GraphNode } from '../graph.ts';

/** Referrers of one subject, and why they cannot be found by it. */
export interface Unattached {
  referrers: readonly GraphNode[];
  error: MirrorError;
}

/** That referrers cannot be listed is no reason to keep the image back. */
export function unlessRefused(error: unknown): MirrorError {
  if (error instanceof MirrorError && error.code === 'E_REFUSED') return error;
  throw error;
}

/** The error that names them. */
export function withoutReferrers(refused: readonly Unattached[]): MirrorError {
  const digests = refused.flatMap(({ referrers }) => referrers.map(({ descriptor }) => descriptor.digest));
  const [{ error }] = refused as [Unattached];
  const named = digests.slice(0, 3).map((digest) => `\`${digest}\``);
  return new MirrorError(
    'E_REFUSED',
    `the image is at the target, but ${plural(digests.length, 'referrer')} of it cannot be found there (${named.join(', ')}${digests.length > 3 ? ', ...' : ''}): ${error.message}`,
    { ...(error.hint === undefined ? {} : { hint: error.hint }), at: error.at, cause: error },
  );
}
