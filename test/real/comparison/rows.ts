import {
  cutByEnd,
  cutByReset,
  hopelessSource,
  droppedUploads,
  killedInLayout,
  refusals,
  stalledSource,
} from './faults.ts';
import { digests, digestTagIsSubject, lostReferrer, platforms, referrers } from './fidelity.ts';
import type { ComparisonRow } from './finding.ts';
import { redirectedWrites } from './redirects.ts';
import { again, credentials, deadTokens, layoutReaders, manyWriters, refusedMounts } from './registries.ts';

/** All rows, in the order of the table. */
export const comparisonRows: readonly ComparisonRow[] = [
  digests,
  referrers,
  lostReferrer,
  digestTagIsSubject,
  platforms,
  layoutReaders,
  cutByReset,
  cutByEnd,
  droppedUploads,
  redirectedWrites,
  stalledSource,
  hopelessSource,
  killedInLayout,
  refusals,
  again,
  credentials,
  deadTokens,
  refusedMounts,
  manyWriters,
];
