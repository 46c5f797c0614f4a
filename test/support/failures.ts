import { type ErrorCode, type MirrorError, toMirrorError } from '../../src/core/errors.ts';

/** The error that a promise is rejected with, as the cli would see it; a promise that is fulfilled fails the test. */
export async function failureOf(work: Promise<unknown>): Promise<MirrorError> {
  const outcome = await work.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  if (!outcome) throw new Error('a rejection was expected, and there was none');
  return toMirrorError(outcome.error);
}

/** The code that a promise is rejected with. */
export async function codeOf(work: Promise<unknown>): Promise<ErrorCode> {
  return (await failureOf(work)).code;
}

/** The error that a call throws. */
export function failureOfCall(work: () => unknown): MirrorError {
  let outcome: { error: unknown } | undefined;
  try {
    work();
  } catch (error) {
    outcome = { error };
  }
  if (!outcome) throw new Error('an error was expected, and none was thrown');
  return toMirrorError(outcome.error);
}

/** The code that a call throws. */
export function codeOfCall(work: () => unknown): ErrorCode {
  return failureOfCall(work).code;
}
