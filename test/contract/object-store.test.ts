import { afterEach, vi } from 'vitest';
import { DirectoryStore } from '../../src/objects/dir.ts';
import { GcsStore } from '../../src/objects/gcs.ts';
import { S3Store } from '../../src/objects/s3.ts';
import { startGcs } from '../support/gcs.ts';
import { temporaryDirectory } from '../support/place.ts';
import { startS3 } from '../support/s3.ts';
import { s3Env, testKeys } from '../support/s3-env.ts';
import { stubEnv } from '../support/stub-env.ts';
import { objectStoreContract, type StoreUnderTest } from './object-store.contract.ts';

const retry = { attempts: 3, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 10 };

afterEach(() => vi.unstubAllEnvs());

async function directoryStore(): Promise<StoreUnderTest> {
  const place = await temporaryDirectory();
  const store = new DirectoryStore(place.path);
  await store.prepare();
  return { store, cleanup: async () => place[Symbol.asyncDispose]() };
}

async function s3Store(prefix: string): Promise<StoreUnderTest> {
  const s3 = await startS3({ buckets: ['models'], pageSize: 7, ...testKeys });
  stubEnv(s3Env(s3.url));
  return {
    store: new S3Store({ bucket: 'models', prefix, retry }),
    dangling: async () => Promise.resolve(s3.dangling().map(({ key }) => key)),
    cleanup: () => s3.close(),
  };
}

async function gcsStore(): Promise<StoreUnderTest> {
  const gcs = await startGcs({ buckets: ['models'], pageSize: 7 });
  const store = new GcsStore({ bucket: 'models', prefix: 'sie/models + größe', endpoint: gcs.url, retry });
  return { store, cleanup: () => gcs.close() };
}

objectStoreContract('directory', directoryStore);
objectStoreContract('S3', () => s3Store(''));
objectStoreContract('S3 below a prefix', () => s3Store('sie/models + größe'));
objectStoreContract('Google Cloud Storage', gcsStore);
