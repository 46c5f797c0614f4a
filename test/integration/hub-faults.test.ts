import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpClient } from '../../src/http/client.ts';
import { HubClient } from '../../src/hub/access/client.ts';
import { collect } from '../support/contents.ts';
import type { HubOptions } from '../support/hub.ts';
import { failureIn, type HubPlace, readSnapshot, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { type Fault, TestServer } from '../support/server.ts';

const size = 1024 * 1024;
const weights = seededBytes('weights', size);
const files = { 'config.json': `{"padding":"${'x'.repeat(3000)}"}`, 'model.safetensors': weights };
const folder = 'models--org--name';
const token = 'hf_canary';
let place: HubPlace;
let commit: string;

async function start(options: HubOptions = {}): Promise<void> {
  await place?.close();
  place = await startHubPlace({ tokens: { [token]: { access: [] } }, ...options }, { HF_TOKEN: token });
  commit = place.hub.addRepo({ id: 'org/name', files }).commit;
}

beforeEach(async () => {
  place = await startHubPlace({ tokens: { [token]: { access: [] } } }, { HF_TOKEN: token });
  commit = place.hub.addRepo({ id: 'org/name', files }).commit;
});

afterEach(async () => {
  await place.close();
});

/** Damages the first answers that fit. */
function damageFirst(server: TestServer, path: RegExp, ...faults: Fault[]): void {
  const left = [...faults];
  server.faults = (request) => (path.test(request.path) ? left.shift() : undefined);
}

/** What an earlier run could have left of the weights. */
async function leavePartial(bytes: number, blobs = join(place.cache, folder, 'blobs')): Promise<void> {
  const hex = createHash('sha256').update(weights).digest('hex');
  await mkdir(blobs, { recursive: true });
  await writeFile(join(blobs, `${hex}.partial`), Buffer.concat([weights, Buffer.alloc(200)]).subarray(0, bytes));
}

async function expectWhole(): Promise<void> {
  const found = await readSnapshot(place.cache, folder, commit);
  expect(found['config.json']).toBe(files['config.json']);
  expect(Buffer.from(found['model.safetensors'] ?? '', 'latin1').equals(weights)).toBe(true);
  expect((await filesBelow(place.cache)).filter((path) => path.endsWith('.partial'))).toEqual([]);
}

const bytesOf = (server: TestServer): number => server.requests.reduce((sum, { sent }) => sum + sent, 0);

describe('a big file is whole in the end', () => {
  it.each<[string, Fault[]]>([
    [
      'when the connection is cut again and again',
      [300_000, 200_000, 100_000].map((after) => ({ kind: 'reset', after })),
    ],
    ['when the answer ends early', [{ kind: 'truncate', after: 500_000 }]],
    ['when the content network fails for a while', [503, 500].map((status) => ({ kind: 'status', status }))],
    ['when the content network asks to wait', [{ kind: 'status', status: 429, headers: { 'retry-after': '0' } }]],
  ])('%s, and nearly no byte comes twice', async (_, faults) => {
    damageFirst(place.hub.cdn, /./, ...faults);
    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    await expectWhole();
    expect(bytesOf(place.hub.cdn)).toBeLessThanOrEqual(size * 1.05 + faults.length * 70_000);
  });

  it('when its signed address has expired: the hub is asked for another', async () => {
    let first = true;
    place.hub.cdn.faults = () => {
      if (first) place.hub.expireUrls();
      first = false;
      return undefined;
    };
    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    await expectWhole();
    // The refusal may be asked for twice: by the path for large bodies, and by the one for all answers.
    const statuses = place.hub.cdn.requests.map(({ status }) => status);
    expect([statuses[0], statuses.at(-1)]).toEqual([403, 200]);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  });

  it('when ranges are ignored after a cut', async () => {
    await start({ cdn: { ignoreRange: true } });
    damageFirst(place.hub.cdn, /./, { kind: 'reset', after: 500_000 });
    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    await expectWhole();
  });

  it('when the partial file of an earlier run is longer than it', async () => {
    await leavePartial(size + 10);
    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    await expectWhole();
  });

  it('when a server has no more behind what an earlier run left, though the file is longer: it starts again', async () => {
    await leavePartial(size - 1000);
    damageFirst(place.hub.cdn, /./, { kind: 'status', status: 416 });
    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    await expectWhole();
    expect(place.hub.cdn.requests.map(({ headers }) => headers.range)).toEqual([
      `bytes=${size - 1000}-${size - 1}`,
      undefined,
    ]);
  });

  it('when the connection stalls', async () => {
    damageFirst(place.hub.cdn, /./, { kind: 'stall', after: 500_000 });
    const http = new HttpClient({ userAgent: 'test', stallMs: 150 });
    const hub = new HubClient(http, {
      endpoint: place.hub.url,
      token: () => Promise.resolve(token),
      retry: { attempts: 3, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 1000 },
    });
    const name = { type: 'model', repo: 'org/name' } as const;
    const file = (await hub.files(name, commit)).find(({ path }) => path === 'model.safetensors');
    if (!file) throw new Error('the file is not listed');
    expect((await collect(hub.content(name, commit, file).open(0))).equals(weights)).toBe(true);
    expect(place.hub.cdn.requests[1]?.headers.range).toBe(`bytes=500000-${size - 1}`);
    await http.close();
  });
});

it('a hub that gives files at once, without a redirect, is read as well', async () => {
  await start({ direct: true });
  expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
  await expectWhole();
});

it('a hub that stands below a path, as repository managers have it, is read as well', async () => {
  await start({ direct: true, base: '/artifactory/api/huggingfaceml/hub' });
  expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
  await expectWhole();
});

it('a mirror that strips what the hub says beside its answers is read as well', async () => {
  const small = { 'config.json': '{"a":1}', 'x/y.txt': 'text' };
  place.hub.addRepo({ id: 'org/small', files: small });
  // A body and its type, and nothing else: no name of the commit, no tag, no limit.
  place.hub.server.faults = ({ path }) => {
    const body = Object.entries(small).find(([name]) => path.includes(`/resolve/`) && path.endsWith(name))?.[1];
    return body === undefined
      ? undefined
      : { kind: 'status', status: 200, headers: { 'content-type': 'text/plain' }, body };
  };
  expect(await place.snapshot('org/small')).toMatchObject({ ok: true, items: [{ detail: { fetched: 2 } }] });
});

it.each([
  ['gzip', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
] as const)(
  'a file that a cache gives compressed though nobody asked for that is read as well: %s',
  async (coding, compress) => {
    const text = 'text that can be compressed '.repeat(500);
    place.hub.addRepo({ id: 'org/text', files: { 'vocab.txt': text, 'own.gz': gzipSync(text) } });
    const cache = await TestServer.start((_, response, { pathname }) => {
      if (pathname === '/own.gz') {
        // Some servers call the coding of a file what is the file itself.
        const bytes = gzipSync(text);
        response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': bytes.length }).end(bytes);
      } else response.writeHead(200, { 'content-encoding': coding }).end(compress(text));
      return true;
    });
    place.hub.server.faults = ({ path }) => {
      const name = path.includes('/resolve/') ? path.slice(path.lastIndexOf('/') + 1) : '';
      return name === '' ? undefined : { kind: 'status', status: 302, headers: { location: `${cache.url}/${name}` } };
    };
    expect(await place.snapshot('org/text')).toMatchObject({ ok: true, items: [{ detail: { fetched: 2 } }] });
    await cache.close();
  },
);

it('a listing that fails for a while is asked for again', async () => {
  damageFirst(place.hub.server, /^\/api\/models\//, { kind: 'status', status: 503 }, { kind: 'reset', after: 10 });
  expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
  await expectWhole();
});

describe('wrong bytes', () => {
  it('are fetched once more from the start', async () => {
    damageFirst(place.hub.cdn, /./, { kind: 'flip', at: 1000 });
    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    await expectWhole();
    expect(place.hub.cdn.requests.map(({ headers }) => headers.range)).toEqual([undefined, undefined]);
  });

  it.each([
    ['of an LFS file', 'model.safetensors', /^sha256:[0-9a-f]{64}$/],
    ['of a regular file', 'config.json', /^git-sha1:[0-9a-f]{40}$/],
  ])(
    '%s a second time are an error that names it and both hashes, and nothing stands under a final name',
    async (_, path, hash) => {
      for (const server of [place.hub.cdn, place.hub.server])
        server.faults = (request) =>
          request.path.includes('/resolve-cache/') || server === place.hub.cdn ? { kind: 'flip', at: 20 } : undefined;
      const report = await place.snapshot('org/name', { filter: { preset: 'all', include: [path], exclude: [] } });

      const { error } = failureIn(report);
      expect(report.exit).toBe(4);
      expect(error?.code).toBe('E_DIGEST_MISMATCH');
      expect(error?.message).toContain(path);
      expect(
        error?.message.match(/`(?:sha256|git-sha1):[0-9a-f]+`/g)?.filter((each) => hash.test(each.slice(1, -1))),
      ).toHaveLength(2);
      const left = await filesBelow(join(place.cache, folder));
      expect(left.filter((path) => !path.startsWith('.unfinished/'))).toEqual([]);
    },
  );

  it('that are fewer than announced are an error, whatever the server says of ranges', async () => {
    place.hub.addRepo({ id: 'org/short', files, declaredSizes: { 'model.safetensors': size + 100 } });
    const report = await place.snapshot('org/short');
    expect(failureIn(report).error?.code).toBe('E_SIZE_MISMATCH');
    expect(report.exit).toBe(4);
  });

  it('that end before the place from which the rest is asked for are an error, and nothing of them is kept', async () => {
    place.hub.addRepo({ id: 'org/short', files, declaredSizes: { 'model.safetensors': size + 100 } });
    const blobs = join(place.cache, 'models--org--short/blobs');
    await leavePartial(size + 50, blobs);
    const report = await place.snapshot('org/short');
    expect(place.hub.cdn.requests[0]?.status).toBe(416);
    expect(failureIn(report).error?.code).toBe('E_SIZE_MISMATCH');
    expect((await filesBelow(blobs)).filter((path) => path.endsWith('.partial'))).toEqual([]);
  });

  it('of one file let no ref claim the snapshot', async () => {
    await place.snapshot('org/name');
    const { commit: next } = place.hub.addRepo({
      id: 'org/name',
      files: { ...files, 'model.safetensors': seededBytes('new', size) },
    });
    place.hub.cdn.faults = () => ({ kind: 'flip', at: 20 });
    expect((await place.snapshot('org/name')).exit).toBe(4);
    await expectWhole();
    expect(await filesBelow(join(place.cache, folder))).not.toContain(`trees/${next}.json`);
    const again = await place.withEnv({});
    expect((await again.snapshot('org/name', { offline: true })).ok).toBe(true);
    await again.close();
  });
});

describe('the rate limit', () => {
  const many = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`f${index}`, `bytes ${index}`]));

  it('is kept before the hub has to refuse anything', async () => {
    await start({ limits: { resolvers: 100, windowSeconds: 2 } });
    place.hub.addRepo({ id: 'org/many', files: many });
    expect(await place.snapshot('org/many')).toMatchObject({ ok: true });
    expect(place.hub.server.requests.length).toBeGreaterThan(160);
    // On a busy machine a request may arrive when the next window has begun.
    expect(place.hub.server.requests.filter(({ status }) => status === 429).length).toBeLessThan(8);
  });

  it('is waited for as told when it is hit, and said once and not for each file', async () => {
    place.hub.addRepo({ id: 'org/many', files: many });
    let refusals = 0;
    place.hub.server.faults = ({ path }) => {
      if (!path.startsWith('/org/many/resolve/') || refusals >= 10) return undefined;
      refusals += 1;
      return { kind: 'status', status: 429, headers: { ratelimit: '"resolvers";r=0;t=1' } };
    };
    expect(await place.snapshot('org/many')).toMatchObject({ ok: true });
    expect(refusals).toBe(10);
    const notes = place.events.flatMap((event) => (event.type === 'note' ? event.text : []));
    expect(notes.length).toBeLessThan(4);
    // The second that is begun, and one more.
    expect(notes[0]).toMatch(/ in 2 s$/);
  });
});

describe('the token', () => {
  it('is not printed when the hub repeats it', async () => {
    place.hub.server.faults = () => ({ kind: 'status', status: 418, body: `no teapot for ${token}` });
    const report = await place.snapshot('org/name').catch((error: unknown) => ({ error: String(error) }));
    expect(JSON.stringify(report)).toContain('teapot');
    expect(JSON.stringify(report)).not.toContain(token);
  });

  it('goes to the hub, and neither to its content network nor where a listing leads', async () => {
    // The content network of the tests fails on any request that has one.
    expect(await place.snapshot('org/name')).toMatchObject({ ok: true });
    expect(place.hub.server.requests.every(({ headers }) => headers.authorization === `Bearer ${token}`)).toBe(true);

    const elsewhere = await TestServer.start((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end('[]');
      return true;
    });
    place.hub.server.faults = ({ path }) =>
      path.includes('/tree/')
        ? {
            kind: 'status',
            status: 200,
            headers: { 'content-type': 'application/json', link: `<${elsewhere.url}/next>; rel="next"` },
            body: '[]',
          }
        : undefined;
    await place.snapshot('org/name');
    expect(elsewhere.requests).toHaveLength(1);
    expect(elsewhere.requests[0]?.headers.authorization).toBeUndefined();
    await elsewhere.close();
  });
});
