import { isDigest } from '../../core/digest.ts';
import { type ErrorCode, type ErrorPlace, MirrorError, toMirrorError } from '../../core/errors.ts';
import { hasPrefix } from '../places/local-source.ts';

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

const otherFiles =
  'what lies there was changed or damaged: copy it again from where it was made, or have it made again';

/** The same of a source that is a place on a disk. */
const localAdvice: typeof advice = Object.fromEntries(
  (['E_DIGEST_MISMATCH', 'E_SIZE_MISMATCH', 'E_CORRUPT'] as const).map((code) => {
    return [code, { source: otherFiles, target: advice[code]?.target ?? '' }];
  }),
);

/** One image of a copy, as its user wrote it. */
export interface CopyNames {
  source: string;
  target?: string;
}

/** Does work of a copy; an error that comes of it says what to do. */
export async function withAdvice<T>(work: () => Promise<T>, names?: CopyNames): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const known = toMirrorError(error);
    throw advised(names ? withName(known, names, isBare) : known, names?.source);
  }
}

/** The error with what to do about it. @param source as its user wrote it */
export function advised(error: MirrorError, source = ''): MirrorError {
  const { code, at } = error;
  const table = hasPrefix(source) ? { ...advice, ...localAdvice } : advice;
  const hint = table[code]?.[at.side ?? 'source'];
  return error.hint !== undefined || hint === undefined ? error : changed(error, { hint });
}

/** The error of one image among many: what to do, and of which it speaks. */
export function ofList(error: MirrorError, names: CopyNames): MirrorError {
  return advised(
    withName(error, names, () => true),
    names.source,
  );
}

/** The error with something else to do about it. */
export function hinted(error: MirrorError, hint: string): MirrorError {
  return changed(error, { hint });
}

/** @param vague whether what the error names says too little */
function withName(error: MirrorError, names: CopyNames, vague: (item: string) => boolean): MirrorError {
  const { message, at } = error;
  const image = at.side === 'target' ? names.target : names.source;
  const { item = '' } = at;
  if (at.side === undefined || image === undefined || !vague(item)) return error;
  if (item.includes(image) || message.includes(image)) return error;
  const said = item === '' || message.includes(item) || image.includes(item);
  return changed(error, { message: said ? message : `\`${item}\`: ${message}`, at: { ...at, item: image } });
}

/** A digest alone tells nobody which image is meant. */
function isBare(item: string): boolean {
  return item === '' || isDigest(item);
}

function changed(error: MirrorError, what: { message?: string; hint?: string; at?: ErrorPlace }): MirrorError {
  const { code, message, at, hint, cause, retryAfterMs } = error;
  const told = new MirrorError(code, what.message ?? message, {
    hint: what.hint ?? hint,
    at: what.at ?? at,
    cause,
    retryAfterMs,
  });
  if (error.stack !== undefined) told.stack = error.stack;
  return told;
}
