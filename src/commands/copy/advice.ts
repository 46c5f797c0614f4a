import { type ErrorCode, MirrorError, toMirrorError } from '../../core/errors.ts';

const otherBytes = {
  source:
    'have it pushed there again, or copy it from another place; what stands between, a proxy or a mirror, may have changed it',
  target: 'run the same command again; if it stays so, something between here and the registry changes what passes',
};
const notARegistry =
  'check that this is the address of a registry, and what stands before it: a proxy, a mirror, a page to log in';
const passing = 'run the same command again later: what has arrived stays; `--retries` lets it try for longer';

/** What can be done about an error of a copy that does not say so itself. */
const advice: Partial<Record<ErrorCode, { source: string; target: string }>> = {
  E_DIGEST_MISMATCH: otherBytes,
  E_SIZE_MISMATCH: otherBytes,
  E_CORRUPT: {
    source: 'have it made and pushed there again by a current tool',
    target: 'copy to another place, or have what is there taken away',
  },
  E_PROTOCOL: { source: notARegistry, target: notARegistry },
  E_NETWORK: { source: passing, target: passing },
  E_REMOTE: { source: passing, target: passing },
  E_RATE_LIMIT: { source: passing, target: passing },
  E_REFUSED: {
    source: 'ask who runs the registry whether you may read this',
    target: 'ask who runs the registry what it takes, or copy to another one',
  },
};

/** Does work of a copy; an error that comes of it says what to do. */
export async function withAdvice<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw advised(toMirrorError(error));
  }
}

/** The error with what to do about it. */
export function advised(error: MirrorError): MirrorError {
  const { code, message, at, hint, cause, retryAfterMs } = error;
  const found = advice[code]?.[at.side ?? 'source'];
  if (hint !== undefined || found === undefined) return error;
  const told = new MirrorError(code, message, {
    hint: found,
    at,
    cause,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
  if (error.stack !== undefined) told.stack = error.stack;
  return told;
}
