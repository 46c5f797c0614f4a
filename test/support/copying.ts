import type { ContentSource, ContentTarget } from '../../src/core/ports.ts';
import { HttpClient } from '../../src/http/client.ts';
import type { RetryOptions } from '../../src/http/retry.ts';
import { readAndCopy } from '../../src/oci/copy/graph.ts';
import type { CopyTally } from '../../src/oci/copy/run.ts';
import type { Credential } from '../../src/oci/access/credentials.ts';
import { Registry } from '../../src/oci/registry/registry.ts';
import { resilientSource, resilientTarget } from '../../src/oci/registry/resilient.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from './registry.ts';

export const copyRetry: RetryOptions = { attempts: 8, pauseMs: 1, maxPauseMs: 2, maxWaitMs: 1500 };
export const copyUser = { user: 'tester', password: 'canary-password-that-must-not-leak' };

/** Two registries and what a copy needs to go from one to the other. */
export interface CopyPair {
  source: TestRegistry;
  zone: TestRegistry;
  from: ContentSource;
  to: ContentTarget;
  copy: (tag: string, options?: { signal?: AbortSignal; referrers?: boolean; slots?: number }) => Promise<CopyTally>;
  close: () => Promise<void>;
}

/** The repository is `team/app` on both sides. */
export async function startPair(
  options: { source?: RegistryOptions; zone?: RegistryOptions; stallMs?: number } = {},
): Promise<CopyPair> {
  const source = await startRegistry(options.source);
  const zone = await startRegistry(options.zone);
  const client = new HttpClient({
    userAgent: 'test',
    insecureHosts: [source.host, zone.host],
    stallMs: options.stallMs ?? 30_000,
  });
  const credential: Credential = { kind: 'basic', ...copyUser };
  const repository = (host: string, side: 'source' | 'target'): ContentTarget =>
    new Registry(host, side, client, async () => Promise.resolve(credential)).repository('team/app');
  const from = resilientSource(repository(source.host, 'source'), copyRetry);
  const to = resilientTarget(repository(zone.host, 'target'), copyRetry);
  return {
    source,
    zone,
    from,
    to,
    copy: (tag, copying = {}) => copyTag(from, to, tag, copying),
    close: async () => {
      await client.close();
      const results = await Promise.allSettled([source.close(), zone.close()]);
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    },
  };
}

/** Closes both in the end. */
export async function withPair(
  options: Parameters<typeof startPair>[0],
  work: (pair: CopyPair) => Promise<void>,
): Promise<void> {
  const pair = await startPair(options);
  try {
    await work(pair);
  } finally {
    await pair.close();
  }
}

/** What `sie-mirror copy` does between two places. */
export async function copyTag(
  from: ContentSource,
  to: ContentTarget,
  tag: string,
  { signal, referrers = true, slots = 4 }: { signal?: AbortSignal; referrers?: boolean; slots?: number } = {},
): Promise<CopyTally> {
  const root = await from.resolve(tag);
  const choice = { platforms: [], sparse: false };
  const options = { slots, report: () => {}, signal, referrers, choice, includeForeign: false };
  return (await readAndCopy(from, to, root, tag, options)).tally;
}
