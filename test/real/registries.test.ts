import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { HttpClient } from '../../src/http/client.ts';
import type { Credential } from '../../src/oci/access/credentials.ts';
import { Registry } from '../../src/oci/registry/registry.ts';
import { contentTargetContract, type TargetUnderTest } from '../contract/content-target.contract.ts';
import {
  type RealServer,
  REGISTRY_PASSWORD,
  startCraneRegistry,
  startDistribution,
  startOlareg,
  startOldDistribution,
} from './servers.ts';
import { installTools } from './tools.ts';

/** The contract that the in-process registry is held to, on real ones. */

const user = { user: 'tester', password: REGISTRY_PASSWORD };
const credential: Credential = { kind: 'basic', ...user };

type Start = (directory: string) => Promise<RealServer>;

beforeAll(async () => {
  await installTools();
});

async function inDirectory(start: Start): Promise<RealServer> {
  const directory = await mkdtemp(join(tmpdir(), 'sie-mirror-registry-'));
  const server = await start(directory);
  const stop = async (): Promise<void> => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  };
  return { ...server, stop };
}

/** A repository of its own for each test. */
function repositoryOf(server: RealServer, credentials?: Credential): TargetUnderTest {
  const http = new HttpClient({ userAgent: 'test', insecureHosts: [server.host] });
  const registry = new Registry(server.host, 'target', http, () => Promise.resolve(credentials));
  return { target: registry.repository(`contract/${randomUUID()}`), cleanup: () => http.close() };
}

function onServer(name: string, start: Start, credentials?: Credential): void {
  describe(`a registry of another maker: ${name}`, () => {
    let server: RealServer;
    beforeAll(async () => {
      server = await inDirectory(start);
    });
    afterAll(() => server?.stop());
    contentTargetContract(name, async () => Promise.resolve(repositoryOf(server, credentials)));
  });
}

/** For a server on which a blob that was pushed to one repository is found in all of them. */
function onFreshServers(name: string, start: Start): void {
  contentTargetContract(name, async () => {
    const server = await inDirectory(start);
    const { target, cleanup } = repositoryOf(server);
    const close = async (): Promise<void> => {
      await cleanup();
      await server.stop();
    };
    return { target, cleanup: close };
  });
}

onServer('distribution v3', (directory) => startDistribution(directory));
onServer('distribution v3 with htpasswd', (directory) => startDistribution(directory, { auth: user }), credential);
onServer('docker-registry 2.8', (directory) => startOldDistribution(directory));
onServer(
  'docker-registry 2.8 with htpasswd',
  (directory) => startOldDistribution(directory, { auth: user }),
  credential,
);
onFreshServers('crane registry', (directory) => startCraneRegistry(directory));
onServer('olareg', (directory) => startOlareg(directory));
onServer('olareg with bearer tokens', (directory) => startOlareg(directory, { auth: user, bearer: true }), credential);
