import { type Command, measure, type Measurement } from './measure.ts';

/** One run of a contender: a command that has a fresh target. */
export interface Attempt {
  command: Command;
  /** Reads the time out of what the command printed, for one that measures itself. */
  seconds?: (stdout: string) => number;
  /** Clears away what the run made; not measured. */
  end?: () => Promise<void>;
}

/** Something that does the work of a case. */
export interface Contender {
  name: string;
  start: () => Promise<Attempt> | Attempt;
}

/** Two contenders that ran in turns; runs of the same index were neighbours in time. */
export interface Pair {
  work: string;
  ours: string;
  peer: string;
  oursRuns: Measurement[];
  peerRuns: Measurement[];
  /** The peer printed its own time, so its processor time and memory say nothing. */
  timeOnly: boolean;
  /** What the ratio of the medians must not exceed. */
  bar?: number | undefined;
}

export interface Peer {
  contender: Contender;
  bar?: number;
}

export interface Comparison {
  /** Named in the table where a case has more than one. */
  work: string;
  ours: Contender;
  peers: readonly Peer[];
}

export interface Rounds {
  python: string;
  rounds: number;
  log: (line: string) => void;
}

/** Ours against each peer, A B A B after one run of each that does not count; last ours against itself: the noise. */
export async function compare(comparison: Comparison, options: Rounds): Promise<Pair[]> {
  const { work, ours, peers } = comparison;
  const again: Peer = { contender: { ...ours, name: `${ours.name} again` } };
  const pairs: Pair[] = [];
  for (const peer of [...peers, again]) pairs.push(await alternate(work, ours, peer, options));
  return pairs;
}

async function alternate(work: string, ours: Contender, peer: Peer, options: Rounds): Promise<Pair> {
  const { contender, bar } = peer;
  const pair: Pair = {
    work,
    ours: ours.name,
    peer: contender.name,
    oursRuns: [],
    peerRuns: [],
    timeOnly: false,
    bar,
  };
  for (let round = 0; round <= options.rounds; round += 1) {
    const one = await runOnce(ours, options);
    const other = await runOnce(contender, options);
    const times = `${one.measured.seconds.toFixed(3)} s, ${other.measured.seconds.toFixed(3)} s`;
    options.log(`  ${ours.name} / ${contender.name}${round === 0 ? ' (warm-up)' : ''}: ${times}`);
    pair.timeOnly = other.timeOnly;
    if (round === 0) continue;
    pair.oursRuns.push(one.measured);
    pair.peerRuns.push(other.measured);
  }
  return pair;
}

async function runOnce(
  contender: Contender,
  { python }: Rounds,
): Promise<{ measured: Measurement; timeOnly: boolean }> {
  const attempt = await contender.start();
  try {
    const measured = await measure(python, attempt.command);
    const seconds = attempt.seconds?.(measured.stdout) ?? measured.seconds;
    return { measured: { ...measured, seconds }, timeOnly: attempt.seconds !== undefined };
  } finally {
    await attempt.end?.();
  }
}
