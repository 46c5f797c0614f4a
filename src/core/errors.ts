/** What each error code means to a shell (`exit`) and to a retry loop (`retry`). The only such table. */
const codes = {
  E_INTERNAL: { exit: 1, retry: false },
  E_USAGE: { exit: 2, retry: false },
  E_MANIFEST: { exit: 2, retry: false },
  E_POLICY: { exit: 2, retry: false },
  E_MEDIUM: { exit: 3, retry: false },
  E_INCOMPLETE: { exit: 3, retry: false },
  E_DIGEST_MISMATCH: { exit: 4, retry: false },
  E_SIZE_MISMATCH: { exit: 4, retry: false },
  E_CORRUPT: { exit: 4, retry: false },
  E_MISSING: { exit: 4, retry: false },
  E_SIGNATURE: { exit: 4, retry: false },
  E_NETWORK: { exit: 5, retry: true },
  E_RATE_LIMIT: { exit: 5, retry: true },
  E_REMOTE: { exit: 5, retry: true },
  E_TLS: { exit: 5, retry: false },
  E_PROTOCOL: { exit: 5, retry: false },
  E_AUTH: { exit: 6, retry: false },
  E_GATED: { exit: 6, retry: false },
  E_NOT_FOUND: { exit: 7, retry: false },
  E_REFUSED: { exit: 8, retry: false },
  E_NO_SPACE: { exit: 8, retry: false },
  E_PATH: { exit: 8, retry: false },
  E_BASE_MISSING: { exit: 8, retry: false },
  E_BLOB_UNKNOWN: { exit: 8, retry: false },
  E_SMOKE: { exit: 9, retry: false },
  E_ABORTED: { exit: 130, retry: false },
} as const satisfies Record<string, { exit: number; retry: boolean }>;

export type ErrorCode = keyof typeof codes;

/** Where an error happened: which side of a transfer, which item, which address (never with credentials or query). */
export interface ErrorPlace {
  side?: 'source' | 'target';
  item?: string;
  url?: string;
  status?: number;
}

export interface ErrorDetail {
  /** The next thing to do, as an imperative: best a command to type. */
  hint?: string | undefined;
  at?: ErrorPlace;
  /** How long the other side asked us to wait, in milliseconds. */
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** The one error class. Its code decides the exit code and whether a retry can help. */
export class MirrorError extends Error {
  override readonly name = 'MirrorError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly at: ErrorPlace;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.hint = detail.hint;
    this.at = detail.at ?? {};
    this.retryAfterMs = detail.retryAfterMs;
  }

  get exit(): number {
    return codes[this.code].exit;
  }

  get retryable(): boolean {
    return codes[this.code].retry;
  }
}

/** Any thrown value as a MirrorError; what nobody translated is a bug of ours. */
export function toMirrorError(error: unknown): MirrorError {
  if (error instanceof MirrorError) return error;
  if (isAbort(error)) return new MirrorError('E_ABORTED', 'interrupted', { cause: error });
  const fileError = fromSystemError(error);
  if (fileError) return fileError;
  return new MirrorError('E_INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
}

/** The same error with more said of where it happened; what it already says stays. */
export function placeError(error: unknown, at: ErrorPlace): MirrorError {
  const { code, message, hint, retryAfterMs, cause, stack, at: known } = toMirrorError(error);
  const placed = new MirrorError(code, message, { hint, retryAfterMs, cause, at: { ...at, ...known } });
  if (stack !== undefined) placed.stack = stack;
  return placed;
}

/**
 * The exit code of a run in which several things failed: integrity wins; if everything failed in one way, that way's
 * code; else 3, incomplete.
 */
export function exitOfMany(errors: readonly { code: ErrorCode }[], someSucceeded: boolean): number {
  const exits = new Set(errors.map((error) => codes[error.code].exit));
  if (exits.has(4)) return 4;
  const [only] = exits;
  return exits.size === 1 && !someSucceeded && only !== undefined ? only : 3;
}

/** Whether an error says nothing of what was looked at, and so is no result of looking: the run was stopped, or this is a bug of ours. */
export function endsRun({ code }: MirrorError): boolean {
  return code === 'E_ABORTED' || code === 'E_INTERNAL';
}

/** Whether it is what Node.js throws when a signal ends some work. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || (error as { code?: string }).code === 'ABORT_ERR');
}

/** Whether bytes came that are not those that were wanted: fetching them once more may bring others. */
export function isWrongBytes(error: unknown): error is MirrorError {
  return error instanceof MirrorError && (error.code === 'E_DIGEST_MISMATCH' || error.code === 'E_SIZE_MISMATCH');
}

const systemErrors: Record<string, { code: ErrorCode; text: string; hint?: string } | undefined> = {
  ENOSPC: { code: 'E_NO_SPACE', text: 'no space left', hint: 'free some space there and run the same command again' },
  EDQUOT: {
    code: 'E_NO_SPACE',
    text: 'the disk quota is used up',
    hint: 'free some space there and run the same command again',
  },
  EFBIG: {
    code: 'E_NO_SPACE',
    text: 'the file is too large for its file system',
    hint: 'use a smaller `--volume-size` or another file system',
  },
  EROFS: {
    code: 'E_REFUSED',
    text: 'the file system is read-only',
    hint: 'mount it so that it can be written to, or choose another place',
  },
  EACCES: {
    code: 'E_REFUSED',
    text: 'permission denied',
    hint: 'run it as a user who may read or write there, or choose another place',
  },
  EPERM: {
    code: 'E_REFUSED',
    text: 'operation not permitted',
    hint: 'run it as a user who may do that, or choose another place',
  },
  ENOTDIR: {
    code: 'E_PATH',
    text: 'a part of the path is a file, a directory was wanted',
    hint: 'move that file away or choose another directory',
  },
  EISDIR: { code: 'E_PATH', text: 'it is a directory, a file was wanted' },
  ESPIPE: { code: 'E_PATH', text: 'it is a pipe, a file was wanted' },
  EEXIST: {
    code: 'E_PATH',
    text: 'something else stands there already',
    hint: 'move it away or choose another directory',
  },
  ENOENT: { code: 'E_NOT_FOUND', text: 'there is no such file or directory' },
  ENAMETOOLONG: { code: 'E_PATH', text: 'the name is too long for its file system' },
  ELOOP: { code: 'E_PATH', text: 'symbolic links lead in a circle' },
  EIO: {
    code: 'E_CORRUPT',
    text: 'the medium returned an input/output error',
    hint: 'try another port or reader, or copy that file again',
  },
};

/** A Node.js file system error in our words; undefined when it is something else. */
function fromSystemError(error: unknown): MirrorError | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code = 'nothing', path } = error as NodeJS.ErrnoException;
  const isUnknown = 'syscall' in error && path !== undefined;
  const known = systemErrors[code] ?? (isUnknown ? { code: 'E_PATH', text: `the system answered ${code}` } : undefined);
  if (!known) return undefined;
  const message = path === undefined ? known.text : `\`${path}\`: ${known.text}`;
  return new MirrorError(known.code, message, { hint: known.hint, cause: error });
}
