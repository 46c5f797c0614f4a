import { MirrorError } from '../core/errors.ts';

/** Numbers in an embedding at most, those of all tokens and the zeros of a sparse one included: vocabularies have a quarter of it. */
export const mostNumbers = 1_048_576;

/** @throws E_SMOKE for a count that would only take memory */
export function checkCount(count: number): void {
  if (count <= mostNumbers) return;
  throw new MirrorError('E_SMOKE', `the vector has ${count} numbers, at most ${mostNumbers} are read`, {
    hint: 'no model gives so many: see the logs of the worker, and what stands between it and this machine',
  });
}

/**
 * Checks that an answer is a real embedding.
 * @param dims how many dimensions were announced with it
 * @param wanted how many dimensions it must have, if that is known
 * @throws E_SMOKE
 */
export function checkVector(values: unknown, dims: number | undefined, wanted: number | undefined): number[] {
  const wrong = (text: string, hint?: string): MirrorError =>
    new MirrorError('E_SMOKE', `the vector ${text}`, { hint });
  if (!Array.isArray(values) || values.length === 0) throw wrong('is empty or no list of numbers');
  checkCount(values.length);
  const notNumber = values.findIndex((value) => typeof value !== 'number' || !Number.isFinite(value));
  if (notNumber >= 0)
    throw wrong(
      `has \`${String(values[notNumber])}\` at place ${notNumber}: it is not made of finite numbers`,
      'the weights are damaged or of the wrong type for this GPU: verify the import and see the logs of the worker',
    );
  const vector = values as number[];
  if (dims !== undefined && dims !== vector.length)
    throw wrong(
      `has ${vector.length} dimensions, ${dims} were announced with it`,
      'the worker and its model configuration disagree: check that the mirrored revision is the one that this SIE release names',
    );
  if (wanted !== undefined && wanted !== vector.length)
    throw wrong(
      `has ${vector.length} dimensions, ${wanted} were wanted`,
      'check that `--model` and `--dim` belong together',
    );
  if (vector.every((value) => value === 0))
    throw wrong('is all zeros', 'the model did not really run: see the logs of the worker');
  return vector;
}

/** Euclidean length; infinite only where no number is large enough for it. */
export function norm(vector: readonly number[]): number {
  const largest = largestOf(vector);
  return largest === 0 ? 0 : largest * Math.sqrt(sumOfSquares(vector, largest));
}

/** Cosine of the angle between two vectors; of different lengths, the missing numbers count as zero. NaN for a vector of zeros. */
export function cosine(one: readonly number[], other: readonly number[]): number {
  const [mine, its] = [largestOf(one), largestOf(other)];
  const product = one.reduce((sum, value, index) => sum + (value / mine) * ((other[index] ?? 0) / its), 0);
  return product / Math.sqrt(sumOfSquares(one, mine) * sumOfSquares(other, its));
}

function largestOf(vector: readonly number[]): number {
  return vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** Of numbers between -1 and 1: the squares of great ones are infinite, and those of small ones nothing. */
function sumOfSquares(vector: readonly number[], scale: number): number {
  return vector.reduce((sum, value) => sum + (value / scale) ** 2, 0);
}
