import { MirrorError } from '../../core/errors.ts';

/** What is wrong with an answer, and what to do. */
export function wrong(message: string, hint: string): MirrorError {
  return new MirrorError('E_SMOKE', message, { hint });
}
