import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { MirrorError } from '../../src/core/errors.ts';
import { contentOf } from '../../src/core/stream.ts';
import { S3Store } from '../../src/objects/s3.ts';
import { objectStoreContract } from '../contract/object-store.contract.ts';
import { watchedContent } from '../support/contents.ts';
import { filesBelow } from '../support/place.ts';
import { codeOf } from '../support/failures.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { type Proxy, startProxy } from './proxy.ts';
import { type RealServer, startVersitygw } from './servers.ts';
import { installTools } from './tools.ts';

/** The contract that the in-process store is held to, on a real one; and what only a real one can show. */

const mebi = 1024 * 1024;
const keys = { accessKeyId: 'REALACCESSKEY', secretAccessKey: 'real-secret-key' };
const retry = { attempts: 2, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 10 };
let directory: string;
let server: RealServer;
let proxy: Proxy;

beforeAll(async () => {
  await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-store-'));
  server = await startVersitygw(directory, { ...keys, buckets: ['models', 'resumed'] });
  proxy = await startProxy(server.host);
  process.env['AWS_ENDPOINT_URL_S3'] = `http://${proxy.host}`;
  process.env['AWS_REGION'] = 'us-east-1';
  process.env['AWS_ACCESS_KEY_ID'] = keys.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = keys.secretAccessKey;
});

afterAll(async () => {
  await proxy.close();
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

const storeIn = (bucket: string, prefix: string): S3Store => new S3Store({ bucket, prefix, pathStyle: true, retry });
/** Parts that versitygw keeps of uploads that have not ended. */
const dangling = async (): Promise<string[]> =>
  (await filesBelow(join(directory, 's3/resumed'))).filter((path) => path.includes('.sgwtmp/multipart/'));

objectStoreContract('versitygw', async () =>
  Promise.resolve({ store: storeIn('models', randomUUID()), cleanup: () => Promise.resolve() }),
);

it('goes on with the parts that versitygw has of an upload that was broken off', async () => {
  const bytes = Buffer.from(seededBytes('real', 36 * mebi));
  const expected = { digest: sha256(bytes), size: bytes.length };
  const gone = new MirrorError('E_MEDIUM', 'the medium was pulled');
  const pulled = watchedContent(bytes, { broken: (position) => (position > 20 * mebi ? gone : undefined) });
  expect(await codeOf(storeIn('resumed', 'm').put('a', pulled, expected))).toBe('E_MEDIUM');
  const stood = (await dangling()).flatMap((path) => /\/(\d+)$/.exec(path)?.[1] ?? []);
  expect(stood.toSorted()).toEqual(['1', '2']);
  proxy.takeRequests();

  await storeIn('resumed', 'm').put('a', contentOf(bytes), expected);

  const sent = proxy.takeRequests().flatMap((request) => /partNumber=(\d+)/.exec(request)?.[1] ?? []);
  expect([...new Set(sent)].toSorted()).toEqual(['3', '4', '5']);
  expect(await storeIn('resumed', 'm').head('a')).toMatchObject(expected);
  expect(await dangling()).toEqual([]);
});
