import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, vi } from 'vitest';
import type { ObjectStore } from '../../src/core/ports.ts';
import { GcsStore } from '../../src/objects/gcs.ts';
import { S3Store } from '../../src/objects/s3.ts';
import { objectStoreContract } from '../contract/object-store.contract.ts';
import { type RealServer, startFakeGcs, startVersitygw } from './servers.ts';
import { installTools } from './tools.ts';

/** The contract that the stores of this process are held to, on servers of other makers. */

const retry = { attempts: 3, pauseMs: 10, maxPauseMs: 100, maxWaitMs: 1000 };
const keys = { accessKeyId: 'TESTACCESSKEY', secretAccessKey: 'test-secret' };
const awsKeys = { AWS_ACCESS_KEY_ID: keys.accessKeyId, AWS_SECRET_ACCESS_KEY: keys.secretAccessKey };
const bucket = 'models';

afterEach(() => vi.unstubAllEnvs());

beforeAll(async () => {
  await installTools();
});

function onServer(
  name: string,
  start: (directory: string) => Promise<RealServer>,
  open: (server: RealServer, prefix: string) => ObjectStore,
): void {
  describe(`a store of another maker: ${name}`, () => {
    let directory: string;
    let server: RealServer;
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'sie-mirror-store-'));
      server = await start(directory);
    });
    afterAll(async () => {
      await server?.stop();
      await rm(directory, { recursive: true, force: true });
    });
    // A prefix of its own is an empty store for each test.
    objectStoreContract(name, async () =>
      Promise.resolve({ store: open(server, `a b/${randomUUID()}`), cleanup: () => Promise.resolve() }),
    );
  });
}

onServer(
  'fake-gcs-server',
  (directory) => startFakeGcs(directory, bucket),
  ({ url }, prefix) => new GcsStore({ bucket, prefix, retry, endpoint: url }),
);

onServer(
  'versitygw',
  (directory) => startVersitygw(directory, { buckets: [bucket], ...keys }),
  ({ url }, prefix) => {
    const env = { AWS_ENDPOINT_URL_S3: url, AWS_REGION: 'us-east-1', ...awsKeys };
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    return new S3Store({ bucket, prefix, retry, pathStyle: true });
  },
);
