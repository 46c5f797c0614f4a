import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { MirrorError } from '../../src/core/errors.ts';
import { contentOf } from '../../src/core/stream.ts';
import { GcsStore } from '../../src/objects/gcs.ts';
import { S3Store } from '../../src/objects/s3.ts';
import { objectStoreContract } from '../contract/object-store.contract.ts';
import { watchedContent } from '../support/contents.ts';
import { codeOf } from '../support/failures.ts';
import { filesBelow } from '../support/place.ts';
import { s3Env } from '../support/s3-env.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { stubEnv } from '../support/stub-env.ts';
import { startProxy } from './proxy.ts';
import { installedProgram } from './recipe.ts';
import { type RealServer, startFakeGcs, startVersitygw } from './servers.ts';
import { startGarage, startMoto, startRclone, storeKeys } from './stores.ts';
import { installTools } from './tools.ts';

/** The contract that the stores of this process are held to, on servers of other makers; and what only real ones can show. */

const mebi = 1024 * 1024;
const retry = { attempts: 3, pauseMs: 10, maxPauseMs: 100, maxWaitMs: 1000 };
const bucket = 'models';

interface Maker {
  start: (directory: string) => Promise<RealServer>;
  /** Takes minutes to build, and so is not always there. */
  rare?: boolean;
}

const s3Makers: Record<string, Maker> = {
  versitygw: { start: (directory) => startVersitygw(directory, { buckets: [bucket], ...storeKeys }) },
  moto_server: { start: (directory) => startMoto(directory, bucket) },
  rclone: { start: (directory) => startRclone(directory, bucket), rare: true },
  garage: { start: (directory) => startGarage(directory, bucket), rare: true },
};

afterEach(() => vi.unstubAllEnvs());

beforeAll(async () => {
  await installTools();
});

/** A server for all tests of a `describe`. */
function serverOf({ start }: Maker): () => { directory: string; server: RealServer } {
  const made = { directory: '', server: undefined as RealServer | undefined };
  beforeAll(async () => {
    made.directory = await mkdtemp(join(tmpdir(), 'sie-mirror-store-'));
    made.server = await start(made.directory);
  });
  afterAll(async () => {
    await made.server?.stop();
    await rm(made.directory, { recursive: true, force: true });
  });
  return () => {
    const { directory, server } = made;
    if (!server) throw new Error('the server did not start');
    return { directory, server };
  };
}

/** Of uploads that have not ended, where the store lets them be seen: in versitygw. */
async function partsOnDisk(directory: string): Promise<string[]> {
  return (await filesBelow(directory)).filter((path) => path.includes('.sgwtmp/multipart/'));
}

// A prefix of its own is an empty store for each test.
function s3At(url: string, prefix = `a b/${randomUUID()}`): S3Store {
  stubEnv(s3Env(url, storeKeys));
  return new S3Store({ bucket, prefix, retry });
}

describe('a store of another maker: fake-gcs-server', () => {
  const made = serverOf({ start: (directory) => startFakeGcs(directory, bucket) });
  objectStoreContract('fake-gcs-server', async () => {
    const endpoint = made().server.url;
    const store = new GcsStore({ bucket, prefix: `a b/${randomUUID()}`, retry, endpoint });
    return Promise.resolve({ store, cleanup: () => Promise.resolve() });
  });
});

const isThere = ([name, { rare }]: [string, Maker]): boolean => rare !== true || existsSync(installedProgram(name));

describe.each(Object.entries(s3Makers).filter(isThere))('a store of another maker: %s', (name, maker) => {
  const made = serverOf(maker);
  objectStoreContract(name, async () =>
    Promise.resolve({ store: s3At(made().server.url), cleanup: () => Promise.resolve() }),
  );

  it('goes on with the parts that it has of an upload that was broken off', async () => {
    const { directory, server } = made();
    const proxy = await startProxy(server.host);
    const open = (): S3Store => s3At(`http://${proxy.host}`, 'broken');
    const bytes = Buffer.from(seededBytes('real', 36 * mebi));
    const expected = { digest: sha256(bytes), size: bytes.length };
    const gone = new MirrorError('E_MEDIUM', 'the medium was pulled');
    const pulled = watchedContent(bytes, { broken: (position) => (position > 20 * mebi ? gone : undefined) });
    const parts = (): string[] =>
      [...new Set(proxy.takeRequests().flatMap((request) => /partNumber=(\d+)/.exec(request)?.[1] ?? []))].toSorted();
    const before = await partsOnDisk(directory);
    expect(await codeOf(open().put('a', pulled, expected))).toBe('E_MEDIUM');
    expect(parts()).toEqual(['1', '2']);
    expect(await open().brokenUploads()).toMatchObject([{ key: 'a', size: bytes.length }]);
    proxy.takeRequests();

    await open().put('a', contentOf(bytes), expected);

    expect(parts()).toEqual(['3', '4', '5']);
    expect(await open().head('a')).toMatchObject(expected);
    expect(await open().brokenUploads()).toEqual([]);
    expect(await partsOnDisk(directory)).toEqual(before);
    await proxy.close();
  });
});
