import type { ContentTarget } from '../../src/core/ports.ts';
import { HttpClient } from '../../src/http/client.ts';
import type { RetryOptions } from '../../src/http/retry.ts';
import type { Credential } from '../../src/oci/access/credentials.ts';
import { HostFacts } from '../../src/oci/registry/host-facts.ts';
import { Registry } from '../../src/oci/registry/registry.ts';
import { resilientTarget } from '../../src/oci/registry/resilient.ts';
import { blobOf } from './contents.ts';
import { copyRetry, copyUser } from './copying.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from './registry.ts';

/** A registry, and the clients of one run that speak to it. */
export interface Pushing {
  registry: TestRegistry;
  facts: HostFacts;
  /** A repository as it is used: what may pass is tried again. */
  target: (repository?: string) => ContentTarget;
  /** The same without another try. */
  once: (repository?: string, side?: 'source' | 'target') => ContentTarget;
  /** `METHOD path` of every request from now on, without ids, states and digests. */
  log: () => string[];
}

export async function withRegistry(
  options: RegistryOptions,
  work: (pushing: Pushing) => Promise<void>,
  { retry = copyRetry, stallMs = 30_000 }: { retry?: RetryOptions; stallMs?: number } = {},
): Promise<void> {
  const registry = await startRegistry(options);
  const client = new HttpClient({ userAgent: 'test', insecureHosts: [registry.host], stallMs });
  const facts = new HostFacts();
  const credential: Credential = { kind: 'basic', ...copyUser };
  const open = (side: 'source' | 'target'): Registry =>
    new Registry(registry.host, side, client, async () => Promise.resolve(credential), { facts });
  const sides = { source: open('source'), target: open('target') };
  const once = (repository = 'team/app', side: 'source' | 'target' = 'target'): ContentTarget =>
    sides[side].repository(repository);
  let begin = 0;
  try {
    await work({
      registry,
      facts,
      once,
      target: (repository) => resilientTarget(once(repository), retry),
      log: () => {
        const fresh = registry.server.requests.slice(begin);
        begin = registry.server.requests.length;
        return fresh.map(({ method, path }) => `${method} ${shown(path)}`);
      },
    });
  } finally {
    await client.close();
    await registry.close();
  }
}

function shown(path: string): string {
  return path
    .replace(/^\/v2\//, '')
    .replace(/\?(?:.*&)?digest=.*$/, '?digest')
    .replace(/\?_state=.*$/, '')
    .replace(/uploads\/[0-9a-f-]{36}/, 'uploads/ID')
    .replaceAll(/sha256[:-][0-9a-f]{64}/g, 'DIGEST')
    .replaceAll(/sha256%3A[0-9a-f]{64}/g, 'DIGEST');
}

export function isThere({ registry }: Pushing, bytes: Uint8Array, repository = 'team/app'): boolean {
  return Buffer.from(registry.blob(repository, blobOf(bytes).digest) ?? []).equals(bytes);
}

/** Bodies of an upload, as the server was told they are. */
export function bodies({ registry }: Pushing): string[] {
  return registry.server.requests
    .filter(({ method }) => method === 'PUT' || method === 'PATCH')
    .map(
      ({ method, headers, status }) => `${method} ${headers['content-range'] ?? headers['content-length']} ${status}`,
    );
}

/** Breaks the first requests off once the upload has the sizes given. */
export function faultsAt(fault: 'cut' | 'hang', ...sizes: number[]): NonNullable<RegistryOptions['uploadFault']> {
  const left = [...sizes];
  return ({ size }) => {
    if (left[0] === undefined || size < left[0]) return undefined;
    left.shift();
    return fault;
  };
}
