import { type FaultId, rankOf } from './faults.ts';

/** From what stands at the bottom of everything to what a user sees. */
export const layers = ['tool', 'bundle', 'bucket', 'registry', 'cluster', 'gateway'] as const;

export type Layer = (typeof layers)[number];

export type Verdict = 'ok' | 'warning' | 'fault' | 'not seen';

/** What one check found. */
export interface Finding {
  layer: Layer;
  /** What was looked at: `models--BAAI--bge-m3`, `pod sie-worker-0`. */
  name: string;
  verdict: Verdict;
  /** Of a warning or fault. */
  fault?: FaultId | undefined;
  /** What was seen, or why nothing was. */
  evidence: string;
  /** What to type, or to do where no command does it: a line for each step, a command at its end. */
  fix?: string | undefined;
  /** What the words in capitals mean that are in it. */
  words?: string[] | undefined;
}

/** What is as it should be. */
export function ok(layer: Layer, name: string, evidence: string): Finding {
  return { layer, name, verdict: 'ok', evidence };
}

/** What could not be looked at. @param evidence what is not known by that, or why @param fix how it can be seen */
export function notSeen(layer: Layer, name: string, evidence: string, fix?: string): Finding {
  return { layer, name, verdict: 'not seen', evidence, fix };
}

/** Something that keeps the cluster from answering. */
export function faultAt(layer: Layer, name: string, fault: FaultId, evidence: string, fix: string): Finding {
  return { layer, name, verdict: 'fault', fault, evidence, fix };
}

/** Something that costs, or that will be a fault for some. */
export function warningAt(layer: Layer, name: string, fault: FaultId, evidence: string, fix: string): Finding {
  return { layer, name, verdict: 'warning', fault, evidence, fix };
}

/** Faults and then warnings, in each the most probable cause first; the same fault in several places stands together. */
export function causes(findings: readonly Finding[]): (Finding & { fault: FaultId })[] {
  const bad = findings.flatMap((each) => (each.fault === undefined ? [] : [{ ...each, fault: each.fault }]));
  const weight = ({ verdict, fault }: (typeof bad)[number]): number => (verdict === 'fault' ? 0 : 1000) + rankOf(fault);
  return bad.sort((a, b) => weight(a) - weight(b));
}
