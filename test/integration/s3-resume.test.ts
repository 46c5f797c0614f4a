import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { contentOf } from '../../src/core/stream.ts';
import { S3Store } from '../../src/objects/s3.ts';
import { codeOf } from '../support/failures.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { s3Env, testKeys } from '../support/s3-env.ts';
import { stubEnv } from '../support/stub-env.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import type { Fault } from '../support/server.ts';

const mebi = 1024 * 1024;
/** Three parts, the last one shorter than eight mebibytes. */
const bytes = Buffer.from(seededBytes('resumed', 18 * mebi));
const expected = { digest: sha256(bytes), size: bytes.length };
let s3: TestS3;

async function start(checksums?: 'checked'): Promise<void> {
  s3 = await startS3({ buckets: ['models'], ...testKeys, checksums });
  stubEnv(s3Env(s3.url));
}

beforeEach(() => start());

afterEach(async () => {
  vi.unstubAllEnvs();
  await s3.close();
});

/** A new process, as far as the store can tell. */
const store = (): S3Store =>
  new S3Store({ bucket: 'models', prefix: 'm', retry: { attempts: 2, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 10 } });
const partNumbers = (): number[] =>
  s3.server.requests
    .filter(({ method, status }) => method === 'PUT' && status === 200)
    .flatMap(({ path }) => /partNumber=(\d+)/.exec(path)?.[1] ?? [])
    .map(Number)
    .toSorted((a, b) => a - b);
const begun = (): number =>
  s3.server.requests.filter(({ path, status }) => path.endsWith('?uploads=') && status === 200).length;
const marks = (): string[] => [...s3.objects.keys()].filter((key) => key.includes('/.sie-mirror/uploads/'));

/** A run of which the first part arrives, and then the store is gone. */
async function breakOff(): Promise<void> {
  s3.server.faults = ({ path }): Fault | undefined =>
    /partNumber=[23]\b/.test(path) ? { kind: 'cut', after: mebi } : undefined;
  expect(await codeOf(store().put('a', contentOf(bytes), expected))).toBe('E_NETWORK');
  s3.server.faults = undefined;
  s3.server.requests.splice(0);
}

const putAgain = async (): Promise<void> => {
  await store().put('a', contentOf(bytes), expected);
  expect(Buffer.from(s3.objects.get('models/m/a')?.body ?? '').equals(bytes)).toBe(true);
  expect([s3.dangling(), marks()]).toEqual([[], []]);
};

it.each([undefined, 'checked' as const])(
  'goes on with the parts that are missing; checksums of parts: %s',
  async (checksums) => {
    await s3.close();
    await start(checksums);
    await breakOff();

    await putAgain();

    expect(partNumbers()).toEqual([2, 3]);
    expect(begun()).toBe(0);
  },
);

it('sends a part again that the store has with other bytes', async () => {
  await breakOff();
  s3.dangling()[0]?.parts.set(1, { body: Buffer.alloc(8 * mebi), etag: 'd41d8cd98f00b204e9800998ecf8427e' });

  await putAgain();

  expect(partNumbers()).toContain(1);
});

it('sends all again where parts are not called by their MD5', async () => {
  await breakOff();
  for (const part of s3.dangling()[0]?.parts.values() ?? []) part.etag = `${part.etag}-kms`;

  await putAgain();

  expect(partNumbers()).toEqual([1, 2, 3]);
});

it.each<[string, () => void]>([
  ['that is gone', () => s3.dangling().forEach(({ id }) => s3.endUpload(id))],
  ['whose parts may not be listed', () => (s3.server.faults = refuse(/^GET .*uploadId=/))],
])('begins a new upload instead of one %s', async (_, change) => {
  await breakOff();
  change();

  await putAgain();

  expect(begun()).toBe(1);
});

it('begins a new upload when the old one ends while parts are sent', async () => {
  await breakOff();
  s3.server.gate = onceAt(/partNumber=/, () => s3.dangling().forEach(({ id }) => s3.endUpload(id)));

  await putAgain();

  expect(partNumbers().filter((number) => number === 1)).toHaveLength(1);
});

it('ends an upload of ours to the same key that was of other bytes, and leaves one of others alone', async () => {
  await breakOff();
  const foreign = s3.beginUpload('models', 'm/a');
  const other = Buffer.from(seededBytes('other', 17 * mebi));

  await store().put('a', contentOf(other), { digest: sha256(other), size: other.length });

  expect(s3.dangling().map(({ id }) => id)).toEqual([foreign]);
  expect(sha256(s3.objects.get('models/m/a')?.body ?? '')).toBe(sha256(other));
  expect(marks()).toEqual([]);
});

it('leaves nothing of an upload whose bytes turn out to be wrong', async () => {
  const wrong = Buffer.from(bytes);
  wrong[bytes.length - 1] = (wrong.at(-1) ?? 0) ^ 1;

  expect(await codeOf(store().put('a', contentOf(wrong), expected))).toBe('E_DIGEST_MISMATCH');

  expect([s3.dangling(), marks(), [...s3.objects.keys()]]).toEqual([[], [], []]);
});

it('takes a completed upload for what it is when the answer was lost', async () => {
  s3.server.faults = onceFault(/^POST .*uploadId=/, { kind: 'lost' });

  await putAgain();

  expect(s3.server.count(/^POST .*uploadId=/)).toBe(2);
});

it('keeps an empty mark where nothing may be deleted, and asks for it no more', async () => {
  s3.server.faults = refuse(/^DELETE /);
  await store().put('a', contentOf(bytes), expected);
  expect(marks().map((key) => s3.objects.get(key)?.body.length)).toEqual([0]);
  s3.server.requests.splice(0);

  await store().put('a', contentOf(bytes), expected);

  expect(s3.server.count(/^GET .*uploads.*\.json/)).toBe(0);
});

it('shows its marks to nobody', async () => {
  await breakOff();
  expect(marks()).toHaveLength(1);

  const listed = [];
  for await (const { key } of store().list('')) listed.push(key);

  expect(listed).toEqual([]);
});

function refuse(pattern: RegExp): (request: { method: string; path: string }) => Fault | undefined {
  const body = '<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>';
  return ({ method, path }) => (pattern.test(`${method} ${path}`) ? { kind: 'status', status: 403, body } : undefined);
}

function onceFault(pattern: RegExp, fault: Fault): (request: { method: string; path: string }) => Fault | undefined {
  let left = 1;
  return ({ method, path }) => (pattern.test(`${method} ${path}`) && left-- > 0 ? fault : undefined);
}

function onceAt(pattern: RegExp, work: () => void): (request: { path: string }) => Promise<void> | undefined {
  let left = 1;
  return ({ path }) => {
    if (pattern.test(path) && left-- > 0) work();
    return undefined;
  };
}
