import { MirrorError } from '../core/errors.ts';

/**
 * Checks that an answer is a real embedding.
 * @param dims how many dimensions were announced with it
 * @param wanted how many dimensions it must have, if that is known
 * @throws E_SMOKE
 */
export function checkVector(values: unknown, dims: number | undefined, wanted: number | undefined): number[] {
  const wrong = (text: string, hint?: string): MirrorError =>
    new MirrorError('E_SMOKE', `the vector ${text}`, hint === undefined ? {} : { hint });
  if (!Array.isArray(values) || values.length === 0) throw wrong('is empty or no list of numbers');
  const notNumber = values.findIndex((value) => typeof value !== 'number' || !Number.isFinite(value));
  if (notNumber >= 0)
    throw wrong(
      `has \`${String(values[notNumber])}\` at place ${notNumber}: it is not made of finite numbers`,
      'the weights are damaged or of the wrong type for this GPU: verify the import and see the logs of the worker',
    );
  const vector = values as number[];
  if (dims !== undefined && dims !== vector.length)
    throw wrong(`has ${vector.length} dimensions, ${dims} were announced with it`);
  if (wanted !== undefined && wanted !== vector.length)
    throw wrong(
      `has ${vector.length} dimensions, ${wanted} were wanted`,
      'check that `--model` and `--dim` belong together',
    );
  if (vector.every((value) => value === 0))
    throw wrong('is all zeros', 'the model did not really run: see the logs of the worker');
  return vector;
}
