import type { Measurement } from './measure.ts';
import type { Pair } from './compare.ts';
import { mebi } from './sizes.ts';
import { spreadOf } from './statistics.ts';

const head = ['work', 'peer', 'ours s', 'peer s', 'ours / peer', 'pairwise', 'CPU s', 'peak RSS MiB', 'bar'];

/** One row a pair. A column with two values has ours first. */
export function renderTable(pairs: readonly Pair[]): string {
  const rows = pairs.map((pair) => [
    pair.work,
    pair.peer,
    times(pair.oursRuns),
    times(pair.peerRuns),
    ratioOf(pair).toFixed(2),
    pairwise(pair),
    both(pair, (run) => run.cpuSeconds, 2),
    both(pair, (run) => run.peakBytes / mebi, 0),
    barOf(pair),
  ]);
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Of the medians. */
export function ratioOf({ oursRuns, peerRuns }: Pair): number {
  return median(oursRuns, seconds) / median(peerRuns, seconds);
}

function pairwise({ oursRuns, peerRuns }: Pair): string {
  const { least, most } = spreadOf(
    oursRuns.map((run, index) => run.seconds / (peerRuns[index]?.seconds ?? Number.NaN)),
  );
  return `${least.toFixed(2)} - ${most.toFixed(2)}`;
}

function times(runs: readonly Measurement[]): string {
  const { median, least, most } = spreadOf(runs.map(seconds));
  return `${median.toFixed(3)} (${least.toFixed(3)} - ${most.toFixed(3)})`;
}

function both(pair: Pair, value: (run: Measurement) => number, digits: number): string {
  const peer = pair.timeOnly ? '-' : median(pair.peerRuns, value).toFixed(digits);
  return `${median(pair.oursRuns, value).toFixed(digits)} / ${peer}`;
}

function barOf(pair: Pair): string {
  if (pair.bar === undefined) return '';
  return `${ratioOf(pair) <= pair.bar ? 'met' : 'MISSED'}: <= ${pair.bar.toFixed(2)}`;
}

function median(runs: readonly Measurement[], value: (run: Measurement) => number): number {
  return spreadOf(runs.map(value)).median;
}

function seconds(run: Measurement): number {
  return run.seconds;
}
