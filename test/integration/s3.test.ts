import dns from 'node:dns';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { openObjects } from '../../src/commands/places/objects.ts';
import { sha256 } from '../../src/core/digest.ts';
import { contentOf } from '../../src/core/stream.ts';
import { S3Store } from '../../src/objects/s3.ts';
import { collect } from '../support/contents.ts';
import { testContext } from '../support/context.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { temporaryDirectory } from '../support/place.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { s3Env, testKeys } from '../support/s3-env.ts';
import { stubEnv } from '../support/stub-env.ts';
import { slowDown } from '../support/s3-error.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import type { Fault } from '../support/server.ts';
import { serverTls } from '../support/tls.ts';

const retry = { attempts: 3, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 10 };
const bytes = Buffer.from(seededBytes('s3', 600_000));
const expected = { digest: sha256(bytes), size: bytes.length };

afterEach(() => vi.unstubAllEnvs());

function stubStore(url: string): Record<string, string> {
  const env = s3Env(url);
  stubEnv(env);
  return env;
}

/** A store whose requests that match are damaged by the faults given, one after the other. */
async function damaged(
  pattern: RegExp,
  faults: readonly Fault[],
  stallMs?: number,
): Promise<{ s3: TestS3; store: S3Store }> {
  const left = [...faults];
  const s3 = await startS3({
    buckets: ['models'],
    ...testKeys,
    faults: ({ method, path }) => (pattern.test(`${method} ${path}`) ? left.shift() : undefined),
  });
  stubStore(s3.url);
  return {
    s3,
    store: new S3Store({ bucket: 'models', prefix: '', retry, ...(stallMs === undefined ? {} : { stallMs }) }),
  };
}

const unavailable: Fault = { kind: 'status', status: 503 };

it.each<[string, RegExp, Fault[]]>([
  ['GET is reset', /^GET /, [{ kind: 'reset', after: 200_000 }]],
  ['GET ends early', /^GET /, [{ kind: 'truncate', after: 200_000 }]],
  ['GET stalls', /^GET /, [{ kind: 'stall', after: 200_000 }]],
  ['GET is refused for a while', /^GET /, [unavailable, slowDown()]],
  ['HEAD is refused for a while', /^HEAD /, [unavailable, unavailable]],
])('reads an object though its %s', async (_, pattern, faults) => {
  // A machine that is busy must not look like a store that is silent.
  const { s3, store } = await damaged(pattern, faults, faults.some(({ kind }) => kind === 'stall') ? 150 : undefined);
  s3.put('models', 'a', bytes);

  const content = await store.get('a');

  expect(content?.size).toBe(bytes.length);
  expect((await collect(content ? content.open(0) : contentOf(Buffer.alloc(0)).open(0))).equals(bytes)).toBe(true);
  await s3.close();
});

it('goes on from the byte that it had reached', async () => {
  const { s3, store } = await damaged(/^GET /, [{ kind: 'reset', after: 500_000 }]);
  s3.put('models', 'a', bytes);

  const content = await store.get('a');
  await collect(content ? content.open(0) : contentOf(Buffer.alloc(0)).open(0));

  const ranges = s3.server.requests.filter(({ method }) => method === 'GET').map(({ headers }) => headers.range);
  expect(ranges).toHaveLength(2);
  expect(Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? '')?.[1])).toBeGreaterThan(300_000);
  await s3.close();
});

it.each<[string, Fault[]]>([
  ['is unavailable for a while', [unavailable, unavailable]],
  ['asks to slow down', [slowDown()]],
])('puts an object though the store %s', async (_, faults) => {
  const { s3, store } = await damaged(/^PUT /, faults);

  await store.put('a', contentOf(bytes), expected);

  expect(await store.head('a')).toMatchObject({ key: 'a', ...expected });
  await s3.close();
});

it('puts a large object though parts of it fail at first', async () => {
  const { s3, store } = await damaged(/^PUT .*partNumber=/, [unavailable, slowDown(), unavailable]);
  const large = seededBytes('large', 20 * 1024 * 1024);

  await store.put('a', contentOf(large), { digest: sha256(large), size: large.length });

  expect(sha256(s3.objects.get('models/a')?.body ?? Buffer.alloc(0))).toBe(sha256(large));
  expect(s3.dangling()).toEqual([]);
  await s3.close();
});

it('gives up after some attempts, and leaves nothing of which no part arrived', async () => {
  const { s3, store } = await damaged(
    /^PUT .*partNumber=/,
    Array.from({ length: 100 }, () => unavailable),
  );
  const large = seededBytes('large', 20 * 1024 * 1024);

  const error = await failureOf(store.put('a', contentOf(large), { digest: sha256(large), size: large.length }));

  expect([error.exit, error.at.side]).toEqual([5, 'target']);
  expect(s3.objects.size).toBe(0);
  expect(s3.dangling()).toEqual([]);
  await s3.close();
});

it('drops a store that never answers', async () => {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stubStore(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const store = new S3Store({ bucket: 'models', prefix: '', retry, stallMs: 10 });

  expect(await codeOf(store.head('a'))).toBe('E_NETWORK');

  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it.each<[string, Partial<Parameters<typeof startS3>[0]>, string]>([
  ['no such bucket', { buckets: ['other'] }, 'E_NOT_FOUND'],
  ['an unknown key', { accessKeyId: 'OTHER' }, 'E_AUTH'],
  ['a wrong secret', { secretAccessKey: 'other' }, 'E_AUTH'],
  ['an action that is denied', { deny: (action) => action === 'PutObject' }, 'E_AUTH'],
])('tells of %s', async (_, options, code) => {
  const s3 = await startS3({ buckets: ['models'], ...testKeys, ...options });
  stubStore(s3.url);
  const store = new S3Store({ bucket: 'models', prefix: '', retry });

  expect(await codeOf(store.put('a', contentOf(bytes), expected))).toBe(code);
  expect(s3.objects.size).toBe(0);
  await s3.close();
});

it('addresses a store that has a name by path, as others do', async () => {
  await using place = await temporaryDirectory();
  const s3 = await startS3({ buckets: ['models'], ...testKeys });
  const env = stubStore(s3.url.replace('127.0.0.1', 'localhost'));
  const { context } = await testContext({ cwd: place.path, env });

  const store = await openObjects(context, 's3://models/sie/models/');
  await store.put('a', contentOf(bytes), expected);

  expect([...s3.objects.keys()]).toEqual(['models/sie/models/a']);
  await context.close();
  await s3.close();
});

it('addresses by path the store that a profile names', async () => {
  await using place = await temporaryDirectory();
  const s3 = await startS3({ buckets: ['models'], ...testKeys });
  const AWS_CONFIG_FILE = join(place.path, 'config');
  const endpoint = s3.url.replace('127.0.0.1', 'localhost');
  const own = `aws_access_key_id = ${testKeys.accessKeyId}\naws_secret_access_key = ${testKeys.secretAccessKey}\n`;
  await writeFile(AWS_CONFIG_FILE, `[profile zone]\nregion = us-east-1\nendpoint_url = ${endpoint}\n${own}`);
  const env = { AWS_CONFIG_FILE, AWS_PROFILE: 'zone' };
  stubEnv(env);
  const { context } = await testContext({ cwd: place.path, env });

  const store = await openObjects(context, 's3://models/sie');
  await store.put('a', contentOf(bytes), expected);

  expect([...s3.objects.keys()]).toEqual(['models/sie/a']);
  await context.close();
  await s3.close();
});

it('names the bucket in the host where that is asked for', async () => {
  await using place = await temporaryDirectory();
  const s3 = await startS3({ buckets: ['models'], domain: 'store.test', ...testKeys });
  const lookup = vi.spyOn(dns, 'lookup');
  lookup.mockImplementation(((_name: string, { all }: dns.LookupOptions, done: (...found: unknown[]) => void) => {
    const found = { address: '127.0.0.1', family: 4 };
    done(null, ...(all ? [[found]] : [found.address, found.family]));
  }) as typeof dns.lookup);
  const env = { ...stubStore(s3.url.replace('127.0.0.1', 'store.test')), AWS_S3_ADDRESSING_STYLE: 'virtual' };
  const { context } = await testContext({ cwd: place.path, env });
  const large = seededBytes('large', 20 * 1024 * 1024);

  const store = await openObjects(context, 's3://models/sie');
  await store.put('a', contentOf(bytes), expected);
  await store.put('in parts', contentOf(large), { digest: sha256(large), size: large.length });

  expect([...s3.objects.keys()]).toEqual(['models/sie/a', 'models/sie/in parts']);
  lookup.mockRestore();
  await context.close();
  await s3.close();
});

it('checks no certificate of a host that is named as insecure, and warns of it', async () => {
  await using place = await temporaryDirectory();
  const s3 = await startS3({ buckets: ['models'], tls: serverTls('other-name'), ...testKeys });
  const env = stubStore(s3.url);
  const { host } = new URL(s3.url);
  const { context, events } = await testContext({ cwd: place.path, env, insecureHosts: [host] });
  const strict = await testContext({ cwd: place.path, env, insecureHosts: ['other.zone'] });
  const large = seededBytes('large', 20 * 1024 * 1024);

  const store = await openObjects(context, 's3://models/sie');
  await store.put('a', contentOf(bytes), expected);
  await store.put('in parts', contentOf(large), { digest: sha256(large), size: large.length });
  const refused = await openObjects(strict.context, 's3://models/sie');

  expect([...s3.objects.keys()]).toEqual(['models/sie/a', 'models/sie/in parts']);
  expect(events.filter((event) => event.type === 'warning' && event.text.includes(host))).toHaveLength(1);
  expect(await codeOf(refused.put('b', contentOf(bytes), expected))).toBe('E_TLS');
  expect(await codeOf(refused.head('a'))).toBe('E_TLS');
  for (const each of [context, strict.context]) await each.close();
  await s3.close();
});

it('keeps objects in a directory that is named as a URL', async () => {
  await using place = await temporaryDirectory();
  const { context } = await testContext({ cwd: place.path });

  const store = await openObjects(context, `file://${join(place.path, 'a b')}`);
  await store.put('x/y', contentOf(bytes), expected);

  expect(await store.head('x/y')).toMatchObject({ key: 'x/y', ...expected });
  expect(await codeOf(openObjects(context, 'ftp://x/y'))).toBe('E_USAGE');
  const unnamed = await failureOf(openObjects(context, 's3://UPPER/y'));
  expect([unnamed.code, unnamed.message]).toEqual(['E_USAGE', expect.stringContaining('`UPPER`')]);
  await context.close();
});
