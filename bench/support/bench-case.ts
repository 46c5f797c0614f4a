import type { Tools } from '../../test/real/tools.ts';
import type { Comparison, Pair } from './compare.ts';

/** What a case works with. */
export interface Bench {
  /** Empty at the start, cleared at the end. */
  directory: string;
  /** 1 for the sizes that count. */
  scale: number;
  tools: Tools;
  log: (line: string) => void;
  compare: (comparison: Comparison) => Promise<Pair[]>;
}

export interface CaseResult {
  pairs: Pair[];
  /** Lines of Markdown below the table. */
  notes: string[];
}

export interface BenchCase {
  name: string;
  /** What is measured, in a sentence or two of Markdown. */
  about: (scale: number) => string;
  run: (bench: Bench) => Promise<CaseResult>;
}
