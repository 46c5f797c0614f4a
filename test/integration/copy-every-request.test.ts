import { describe, expect, it } from 'vitest';
import { toMirrorError } from '../../src/core/errors.ts';
import { copyUser, withPair } from '../support/copying.ts';
import { firstOfEach } from '../support/first-of-each.ts';
import { missingAt, putGraph, sampleGraph } from '../support/graphs.ts';
import type { RegistryOptions } from '../support/registry.ts';
import type { Fault, FaultPlan } from '../support/server.ts';

const repository = 'team/app';
const tag = 'v1';
const auth = { kind: 'bearer', ...copyUser } as const;
const sides = ['source', 'zone'] as const;
const registries: [string, RegistryOptions][] = [
  ['with a referrers API', { auth }],
  ['without one', { auth, referrers: false }],
];
const passing: [string, Fault][] = [
  ['is cut before its answer', { kind: 'reset', after: 0 }],
  ['is cut in its answer', { kind: 'reset', after: 10 }],
  ['is cut when some of it has come', { kind: 'cut', after: 10 }],
  ['is done, and its answer lost', { kind: 'lost' }],
  ['ends early', { kind: 'truncate', after: 10 }],
  ['gets 503', { kind: 'status', status: 503 }],
  ['gets 429 and a time to wait', { kind: 'status', status: 429, headers: { 'retry-after': '0' } }],
  ['gets 408', { kind: 'status', status: 408 }],
];
const stalling: [string, Fault][] = [
  ['before its answer', { kind: 'stall', after: 0 }],
  ['in its answer', { kind: 'stall', after: 10 }],
];

/** Does it to the first of each request: those for tokens, lists, referrers, manifests, blobs and tags, and all that an upload is made of. */
function onceToEach(fault: Fault): FaultPlan {
  const first = firstOfEach(/./, [fault]);
  // A body that is not that long cannot be cut there.
  return (request) =>
    fault.kind === 'cut' && Number(request.headers['content-length'] ?? 0) <= fault.after ? undefined : first(request);
}

/** @returns what is not at the target after one copy */
async function missingAfter(side: (typeof sides)[number], options: RegistryOptions, fault: Fault): Promise<string[]> {
  let missing: string[] = [];
  await withPair(
    { source: options, zone: options, ...(fault.kind === 'stall' ? { stallMs: 100 } : {}) },
    async (pair) => {
      const graph = sampleGraph();
      putGraph(pair.source, repository, graph, tag, options.referrers === false);
      pair[side].server.faults = onceToEach(fault);

      await pair.copy(tag);

      missing = missingAt(pair.zone, repository, tag, graph);
    },
  );
  return missing;
}

describe.concurrent.each(sides)('when every request to the %s', (side) => {
  describe.each(registries)('%s', (_, options) => {
    it.each(passing)('%s once, the copy arrives whole', async (__, fault) => {
      expect(await missingAfter(side, options, fault)).toEqual([]);
    });

    it.each([0, 5, 100])('has a bit of byte %i of its answer turned once, what arrives is right', async (at) => {
      await withPair({ source: options, zone: options }, async (pair) => {
        const graph = sampleGraph();
        putGraph(pair.source, repository, graph, tag, options.referrers === false);
        pair[side].server.faults = onceToEach({ kind: 'flip', at });

        const told: string[] = [];
        // What cannot be right is told, and the next run meets what is still to be damaged.
        for (let tries = 0; tries < 60 && pair.zone.tags(repository).length === 0; tries += 1)
          await pair.copy(tag).catch((error: unknown) => told.push(toMirrorError(error).code));

        const documented = ['E_DIGEST_MISMATCH', 'E_PROTOCOL', 'E_CORRUPT', 'E_AUTH'];
        expect(told.filter((code) => !documented.includes(code))).toEqual([]);
        expect(missingAt(pair.zone, repository, tag, graph)).toEqual([]);
      });
    });
  });
});

// Side by side: that somebody is silent is noticed within a second at the soonest, for one request after the other.
describe.concurrent('when every request', () => {
  const cases = sides.flatMap((side) => stalling.map(([when, fault]) => [side, when, fault] as const));

  it.each(cases)('to the %s stalls %s once, the copy arrives whole', async (side, _, fault) => {
    expect(await missingAfter(side, { auth, referrers: false }, fault)).toEqual([]);
  });
});
