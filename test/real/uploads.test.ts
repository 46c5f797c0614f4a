import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { HttpClient } from '../../src/http/client.ts';
import { Registry } from '../../src/oci/registry/registry.ts';
import { resilientTarget } from '../../src/oci/registry/resilient.ts';
import { blobOf, collect, watchedContent } from '../support/contents.ts';
import { startCuttingProxy } from '../support/cutting-proxy.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { type RealServer, startDistribution, startOlareg } from './servers.ts';
import { installTools } from './tools.ts';

/** What the in-process registry is taught about broken uploads, on real ones. */

const mebi = 1024 * 1024;
const retry = { attempts: 5, pauseMs: 50, maxPauseMs: 300, maxWaitMs: 5000 };

beforeAll(installTools);

it.each<[string, (directory: string) => Promise<RealServer>]>([
  ['distribution v3', startDistribution],
  ['olareg', startOlareg],
])('an upload to %s that breaks every 12 MiB arrives, and goes on where it was', async (_, start) => {
  const directory = await mkdtemp(join(tmpdir(), 'sie-mirror-upload-'));
  const server = await start(directory);
  await using proxy = await startCuttingProxy(server.host, 12 * mebi);
  // The registry may name its own address for the upload to go on at.
  const http = new HttpClient({ userAgent: 'test', insecureHosts: [proxy.host, server.host] });
  try {
    const registry = new Registry(proxy.host, 'target', http, async () => Promise.resolve(undefined));
    const target = resilientTarget(registry.repository('team/app'), retry);
    const bytes = seededBytes('broken', 60 * mebi);

    // More cuts than tries: it would never arrive if it began anew.
    await target.push(blobOf(bytes), watchedContent(bytes));

    expect(proxy.cuts()).toBeGreaterThanOrEqual(4);
    expect((await collect((await target.fetch(blobOf(bytes))).open(0))).equals(bytes)).toBe(true);
  } finally {
    await http.close();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
});
