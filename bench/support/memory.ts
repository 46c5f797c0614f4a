import type { Pair } from './compare.ts';
import { mebi, sizeText } from './sizes.ts';

const limit = 200 * mebi;

/** A line on the most memory that ours took in any run. */
export function memoryNote(pairs: readonly Pair[]): string {
  const peak = Math.max(...pairs.flatMap(({ oursRuns }) => oursRuns.map(({ peakBytes }) => peakBytes)));
  return `Memory of sie-mirror: at most ${sizeText(peak)} (${peak <= limit ? 'met' : 'MISSED'}: <= ${sizeText(limit)}).`;
}
