import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type ErrorCode, toMirrorError } from '../../src/core/errors.ts';
import { HttpClient, type HttpClientOptions, type HttpResponse } from '../../src/http/client.ts';
import { codeOf } from '../support/failures.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { waitFor } from '../support/wait.ts';
import { pem } from '../support/tls.ts';
import { startWire, type WireScript } from '../support/wire.ts';

const large = Buffer.from(seededBytes('bulk', 1_500_000));
const chunkedAbc = '3\r\nabc\r\n0\r\n\r\n';
const gzipped = gzipSync('compressed');

/** What came of a request: an answer with a whole body, or an error and what had come before it. */
interface Outcome {
  status?: number;
  body?: string;
  code?: ErrorCode;
}

const digestOf = (bytes: Uint8Array): string => `${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`;

/** A client whose requests all take the path for large bodies. */
function opened(options: Partial<HttpClientOptions> = {}) {
  const client = new HttpClient({ userAgent: 'test', stallMs: 5000, ...options });
  const get = (url: string, signal?: AbortSignal, headers = {}): Promise<HttpResponse> =>
    client.send({ method: 'GET', url: new URL(url), at: {}, bulk: true, signal, headers });
  return {
    get,
    bytes: async (...asked: Parameters<typeof get>) => (await get(...asked)).bytes(2 * large.length),
    [Symbol.dispose]: () => void client.close(),
  };
}

async function outcomeOf(url: string, bulk: boolean, options: Partial<HttpClientOptions> = {}): Promise<Outcome> {
  const client = new HttpClient({ userAgent: 'test', stallMs: 20_000, ...options });
  const outcome: Outcome = {};
  try {
    const response = await client.send({ method: 'GET', url: new URL(url), at: {}, bulk });
    outcome.status = response.status;
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) chunks.push(chunk);
    outcome.body = digestOf(Buffer.concat(chunks));
  } catch (error) {
    outcome.code = toMirrorError(error).code;
  } finally {
    await client.close();
  }
  return outcome;
}

const head = (...lines: string[]): string => `${lines.join('\r\n')}\r\n\r\n`;
const sized = (bytes: Uint8Array | string, ...lines: string[]): string =>
  head('HTTP/1.1 200 OK', `content-length: ${bytes.length}`, ...lines);

/** The same answer whoever asks, and however often. */
const says =
  (...parts: (string | Uint8Array)[]): WireScript =>
  (socket) => {
    for (const part of parts) socket.write(part);
  };

const slowly =
  (...parts: (string | Uint8Array)[]): WireScript =>
  async (socket) => {
    for (const part of parts) {
      socket.write(part);
      await sleep(15);
    }
  };

const cutAfter = (length: number, how: 'end' | 'resetAndDestroy'): WireScript => {
  return async (socket) => {
    socket.write(sized(large));
    socket.write(large.subarray(0, length));
    await sleep(40);
    socket[how]();
  };
};

const ok = (bytes: Uint8Array | string): Outcome => ({ status: 200, body: digestOf(Buffer.from(bytes)) });

/** Only here a time decides: elsewhere a busy machine must not look like a server that stalls. */
const stalls: readonly (readonly [what: string, script: WireScript, wanted: Outcome])[] = [
  ['no answer', () => {}, { code: 'E_NETWORK' }],
  ['a head that stalls', says('HTTP/1.1 200 OK\r\n'), { code: 'E_NETWORK' }],
  ['a body that does not begin', says(sized(large)), { status: 200, code: 'E_NETWORK' }],
  ['a body that stalls', says(sized(large), large.subarray(0, 700_000)), { status: 200, code: 'E_NETWORK' }],
];

const cases: readonly (readonly [what: string, script: WireScript, wanted: Outcome])[] = [
  ['a large body', says(sized(large), large), ok(large)],
  ['a small body', says(sized('small'), 'small'), ok('small')],
  ['an empty body', says(sized('')), ok('')],
  ['a body in small pieces', slowly(sized('abc'), 'a', 'b', 'c'), ok('abc')],
  ['a chunked body', says(head('HTTP/1.1 200 OK', 'transfer-encoding: chunked'), chunkedAbc), ok('abc')],
  [
    'a body that the end of the connection ends',
    (socket) => void socket.end(`${head('HTTP/1.1 200 OK')}abc`),
    ok('abc'),
  ],
  ['early hints', says(head('HTTP/1.1 103 Early Hints', 'link: </a>'), sized('abc'), 'abc'), ok('abc')],
  ['a head in two pieces', slowly('HTTP/1.1 200 OK\r\ncontent-le', 'ngth: 3\r\n\r\nabc'), ok('abc')],
  ['a head that breaks in its last line', slowly('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r', '\nabc'), ok('abc')],
  ['a large head', says(sized('abc', `x-large: ${'x'.repeat(15_000)}`), 'abc'), ok('abc')],
  ['a head that is too large', says(sized('abc', `x-large: ${'x'.repeat(70_000)}`), 'abc'), { code: 'E_NETWORK' }],
  ['names in upper case', says(head('HTTP/1.1 200 OK', 'CONTENT-LENGTH: 3'), 'abc'), ok('abc')],
  [
    'values without and with much space',
    says(head('HTTP/1.1 200 OK', 'content-length:3', 'x-y: \t z \t '), 'abc'),
    ok('abc'),
  ],
  ['a status without a reason', says(head('HTTP/1.1 200 ', 'content-length: 3'), 'abc'), ok('abc')],
  ['HTTP/1.0', (socket) => void socket.end(`${head('HTTP/1.0 200 OK', 'content-length: 3')}abc`), ok('abc')],
  ['more than it said', says(sized('abc'), 'abcdef'), ok('abc')],
  ['much more than it said', says(sized(large), large, large), ok(large)],
  ['no content', says(head('HTTP/1.1 204 No Content')), { status: 204, body: digestOf(Buffer.alloc(0)) }],
  [
    'not modified',
    says(head('HTTP/1.1 304 Not Modified', 'etag: "a"')),
    { status: 304, body: digestOf(Buffer.alloc(0)) },
  ],
  ['gzip, which is left as it is', says(sized(gzipped, 'content-encoding: gzip'), gzipped), ok(gzipped)],
  [
    'a part',
    says(head('HTTP/1.1 206 Partial Content', 'content-range: bytes 0-2/9', 'content-length: 3'), 'abc'),
    { ...ok('abc'), status: 206 },
  ],
  [
    'an error with a body',
    says(head('HTTP/1.1 404 Not Found', 'content-length: 3'), 'abc'),
    { ...ok('abc'), status: 404 },
  ],
  ['a last answer', (socket) => void socket.end(`${sized('abc', 'connection: close')}abc`), ok('abc')],
  ['an end before the body', cutAfter(0, 'end'), { status: 200, code: 'E_NETWORK' }],
  ['an end in the middle', cutAfter(700_000, 'end'), { status: 200, code: 'E_NETWORK' }],
  ['a reset in the middle', cutAfter(700_000, 'resetAndDestroy'), { status: 200, code: 'E_NETWORK' }],
  ['an end instead of an answer', (socket) => void socket.end(), { code: 'E_NETWORK' }],
  ['an end in the head', (socket) => void socket.end('HTTP/1.1 200 OK\r\ncont'), { code: 'E_NETWORK' }],
  ['a reset instead of an answer', (socket) => void socket.resetAndDestroy(), { code: 'E_NETWORK' }],
];

/** Of these nothing may be taken for an answer. */
const refused: readonly (readonly [what: string, script: WireScript])[] = [
  ['continue, which nobody waited for', says(head('HTTP/1.1 100 Continue'), sized('abc'), 'abc')],
  ['a folded header', says(sized('abc', 'x-folded: a', ' b'), 'abc')],
  ['a length that is said twice', says(sized('abc', 'content-length: 3'), 'abc')],
  ['two lengths', says(sized('abc', 'content-length: 4'), 'abc')],
  ['a list of lengths', says(head('HTTP/1.1 200 OK', 'content-length: 3, 3'), 'abc')],
  ['a length that is none', says(head('HTTP/1.1 200 OK', 'content-length: -3'), 'abc')],
  ['a length and chunks', says(sized('abc', 'transfer-encoding: chunked'), chunkedAbc)],
  ['a header without a colon', says(sized('abc', 'nonsense'), 'abc')],
  ['a space before a colon', says(sized('abc', 'x-y : z'), 'abc')],
  ['a control character in a value', says(sized('abc', 'x-y: a\0b'), 'abc')],
  ['no HTTP', says('220 ftp.example ready\r\n\r\n')],
];

describe('both paths', () => {
  it.each(cases)('get along with %s', async (_, script, wanted) => {
    await using server = await startWire(script);

    // Where nothing comes in time that is a failure as well.
    const patience = wanted.status === undefined ? { stallMs: 300 } : {};
    expect(await outcomeOf(server.url, true, patience)).toEqual(wanted);
    expect(await outcomeOf(server.url, false, patience)).toEqual(wanted);
  });

  it.each(stalls)('give up %s', async (_, script, wanted) => {
    await using server = await startWire(script);

    expect(await outcomeOf(server.url, true, { stallMs: 300 })).toEqual(wanted);
    expect(await outcomeOf(server.url, false, { stallMs: 300 })).toEqual(wanted);
  });

  it.each(refused)('refuse %s in the same way', async (_, script) => {
    await using server = await startWire(script);

    const outcome = await outcomeOf(server.url, true, { stallMs: 300 });

    expect(Object.keys(outcome)).toEqual(['code']);
    expect(outcome).toEqual(await outcomeOf(server.url, false, { stallMs: 300 }));
  });

  it.each([
    ['a large body', says(sized(large), large), ok(large)],
    ['an early end', cutAfter(700_000, 'end'), { status: 200, code: 'E_NETWORK' }],
  ] as const)('get along with %s over TLS', async (_, script, wanted) => {
    await using server = await startWire(script, { tls: true });
    const trusting = { ca: pem('ca.pem') };

    expect(await outcomeOf(server.url, true, trusting)).toEqual(wanted);
    expect(await outcomeOf(server.url, false, trusting)).toEqual(wanted);
  });

  it('refuse a certificate of an authority that they do not know', async () => {
    await using server = await startWire(says(sized('abc'), 'abc'), { tls: true });

    expect(await outcomeOf(server.url, true)).toEqual({ code: 'E_TLS' });
    expect(await outcomeOf(server.url, false)).toEqual({ code: 'E_TLS' });
    expect(server.requests).toEqual([]);
  });

  it('say that nobody listens', async () => {
    const server = await startWire(() => {});
    await server[Symbol.asyncDispose]();

    expect(await outcomeOf(server.url, true)).toEqual({ code: 'E_NETWORK' });
    expect(await outcomeOf(server.url, false)).toEqual({ code: 'E_NETWORK' });
  });
});

describe('the path for large bodies', () => {
  it('gives all that came before a connection broke', async () => {
    await using server = await startWire(cutAfter(700_000, 'resetAndDestroy'));
    using client = opened();
    const { body } = await client.get(server.url);

    let received = Buffer.alloc(0);
    const code = await codeOf(
      (async () => {
        for await (const chunk of body) received = Buffer.concat([received, chunk]);
      })(),
    );

    expect(code).toBe('E_NETWORK');
    expect(received.equals(large.subarray(0, 700_000))).toBe(true);
  });

  it('uses a connection again', async () => {
    await using server = await startWire(says(sized(large), large));
    using client = opened();

    for (let time = 1; time <= 3; time += 1) expect(digestOf(await client.bytes(server.url))).toBe(digestOf(large));

    expect(server.connections()).toBe(1);
  });

  it.each<[string, WireScript]>([
    ['said more than announced', says(sized('abc'), 'abcdef')],
    ['is the last one', says(sized('abc', 'connection: close'), 'abc')],
    ['has nothing behind it that was asked for', slowly(sized('abc'), 'abc', 'HTTP/1.1 200 OK\r\n')],
  ])('uses no connection again whose answer %s', async (_, script) => {
    await using server = await startWire(script);
    using client = opened();

    expect((await client.bytes(server.url)).toString()).toBe('abc');
    await sleep(60);
    expect((await client.bytes(server.url)).toString()).toBe('abc');

    expect(server.connections()).toBe(2);
  });

  it('asks once more when a connection turns out to be dead', async () => {
    await using server = await startWire((socket, { connection }, count) => {
      if (connection === 1 && count > 1) socket.resetAndDestroy();
      else socket.write(`${sized('abc')}abc`);
    });
    using client = opened();

    await client.bytes(server.url);
    expect((await client.bytes(server.url)).toString()).toBe('abc');

    expect(server.requests.map(({ connection }) => connection)).toEqual([1, 1, 2]);
  });

  it('does not ask once more when an answer had begun', async () => {
    await using server = await startWire((socket, _, count) => {
      socket.write(count > 1 ? 'HTTP/1.1 200' : `${sized('abc')}abc`);
      if (count > 1) socket.end();
    });
    using client = opened({ stallMs: 500 });

    await client.bytes(server.url);
    expect(await codeOf(client.bytes(server.url))).toBe('E_NETWORK');

    expect(server.requests.length).toBe(2);
  });

  it('leaves an origin to undici that answers in another way', async () => {
    await using server = await startWire(says(head('HTTP/1.1 200 OK', 'transfer-encoding: chunked'), chunkedAbc));
    using client = opened();

    await client.bytes(server.url);
    await client.bytes(server.url);

    expect(server.requests.length).toBe(3);
  });

  it.each([
    ['reads a short rest', 100_000, 1],
    ['gives up the connection of a long one', 1_500_000, 2],
  ])('%s of a body that nobody wants', async (_, length, connections) => {
    const bytes = large.subarray(0, length);
    await using server = await startWire(async (socket) => {
      socket.write(sized(bytes));
      await sleep(20);
      socket.write(bytes);
    });
    using client = opened();

    await (await client.get(server.url)).discard();
    expect(digestOf(await client.bytes(server.url))).toBe(digestOf(bytes));

    expect(server.connections()).toBe(connections);
  });

  it('lets a connection go when its reader does', async () => {
    let closed = false;
    await using server = await startWire((socket) => {
      socket.on('close', () => (closed = true));
      socket.write(sized(large));
      socket.write(large.subarray(0, 1_000_000));
    });
    using client = opened();

    for await (const chunk of (await client.get(server.url)).body) if (chunk.length > 0) break;

    await waitFor('the connection is closed', () => closed);
    expect(closed).toBe(true);
  });

  it('does not take a slow reader for a slow server', async () => {
    const bytes = Buffer.concat(Array.from({ length: 16 }, () => large));
    await using server = await startWire(says(sized(bytes), bytes));
    using client = opened({ stallMs: 600 });
    const hash = createHash('sha256');
    let pauses = 2;

    for await (const chunk of (await client.get(server.url)).body) {
      hash.update(chunk);
      if (pauses > 0) await sleep(800);
      pauses -= 1;
    }

    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it.each<[string, WireScript]>([
    ['for an answer', () => {}],
    ['for the rest of a body', says(sized(large), large.subarray(0, 300_000))],
  ])('stops waiting %s when it is told to', async (_, script) => {
    await using server = await startWire(script);
    const stop = new AbortController();
    using client = opened({ stallMs: 20_000 });

    const failed = codeOf(client.bytes(server.url, stop.signal));
    await waitFor('the request has come', () => server.requests.length > 0);
    stop.abort();

    expect(await failed).toBe('E_ABORTED');
  });

  it('sends nothing when it was told to stop before', async () => {
    await using server = await startWire(says(sized('abc'), 'abc'));
    using client = opened();

    expect(await codeOf(client.bytes(server.url, AbortSignal.abort()))).toBe('E_ABORTED');
    expect(server.connections()).toBe(0);
  });

  it('follows a redirect without taking credentials to another origin', async () => {
    await using elsewhere = await startWire(says(sized(large), large));
    await using server = await startWire(
      says(head('HTTP/1.1 307 Away', `location: ${elsewhere.url}/x`, 'content-length: 0')),
    );
    using client = opened();

    expect(digestOf(await client.bytes(server.url, undefined, { authorization: 'Bearer secret' }))).toBe(
      digestOf(large),
    );

    expect(server.requests[0]?.head).toContain('authorization: Bearer secret');
    expect(elsewhere.requests[0]?.head).not.toContain('secret');
    expect(elsewhere.requests[0]?.line).toBe('GET /x HTTP/1.1');
  });

  it('sends no header that would end its line', async () => {
    await using server = await startWire(says(sized('abc'), 'abc'));
    using client = opened();

    expect(await codeOf(client.bytes(server.url, undefined, { 'x-y': 'a\r\nx-z: b' }))).toBe('E_NETWORK');
    expect(server.requests).toEqual([]);
  });
});
