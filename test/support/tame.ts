import { type ErrorCode, MirrorError } from '../../src/core/errors.ts';

/** What has to be so whatever hostile input was read; throws when it is not. */
export function holds(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** Hostile input may end in an error of these codes only, and its message must not speak to the terminal. */
export function expectTame(error: unknown, codes: readonly ErrorCode[]): void {
  if (!(error instanceof MirrorError)) throw error;
  holds(codes.includes(error.code), `the code ${error.code} was not expected: ${error.message}`);
  holds(!/(?!\n)\p{Cc}/u.test(error.message), `a control character: ${JSON.stringify(error.message)}`);
  expectPlainPrototype();
}

/** No document has put anything where all objects have it. */
export function expectPlainPrototype(): void {
  holds(Object.keys(Object.prototype).length === 0, 'the prototype of all objects was changed');
}
