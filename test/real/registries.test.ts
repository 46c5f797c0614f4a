import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { HttpClient } from '../../src/http/client.ts';
import type { Credential } from '../../src/oci/credentials.ts';
import { Registry } from '../../src/oci/registry.ts';
import { contentTargetContract, type TargetUnderTest } from '../contract/content-target.contract.ts';
import { type RealServer, REGISTRY_PASSWORD, startDistribution, startOlareg } from './servers.ts';
import { installTools } from './tools.ts';

/** The contract that the in-process registry is held to, on real ones. */

const user = { user: 'tester', password: REGISTRY_PASSWORD };
const credential: Credential = { kind: 'basic', ...user };

function onServer(name: string, start: (directory: string) => Promise<RealServer>, credentials?: Credential): void {
  describe(`a registry of another maker: ${name}`, () => {
    let server: RealServer;
    let directory: string;
    beforeAll(async () => {
      await installTools();
      directory = await mkdtemp(join(tmpdir(), 'sie-mirror-registry-'));
      server = await start(directory);
    });
    afterAll(async () => {
      await server?.stop();
      await rm(directory, { recursive: true, force: true });
    });
    contentTargetContract(name, async (): Promise<TargetUnderTest> => {
      const http = new HttpClient({ userAgent: 'test', insecureHosts: [server.host] });
      const registry = new Registry(server.host, 'target', http, () => Promise.resolve(credentials));
      // A repository of its own for each test: the server is shared.
      return { target: registry.repository(`contract/${randomUUID()}`), cleanup: () => http.close() };
    });
  });
}

onServer('distribution v3', (directory) => startDistribution(directory));
onServer('distribution v3 with htpasswd', (directory) => startDistribution(directory, { auth: user }), credential);
onServer('olareg', (directory) => startOlareg(directory));
onServer('olareg with bearer tokens', (directory) => startOlareg(directory, { auth: user, bearer: true }), credential);
