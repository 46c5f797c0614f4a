import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { SmokeOptions } from '../../src/commands/smoke/options.ts';
import { smoke } from '../../src/commands/smoke.ts';
import { testContext } from '../support/context.ts';
import type { Fault } from '../support/server.ts';
import { scratch, smokeAgainst, smokeDefaults, smokeFails, smokeModel as model } from '../support/smoke.ts';
import { serverTls, tlsPath } from '../support/tls.ts';

const lock = JSON.stringify({
  schema: 'sie-mirror/lock/v1',
  name: 'site',
  models: [],
  images: [],
  files: [],
});
const html = { 'content-type': 'text/html' };
const json = { 'content-type': 'application/json' };
/** What is asked for, and more. */
const large = JSON.stringify({ items: [{ dense: { values: [1, 2] } }], more: ' '.repeat(5 * 1024 * 1024) });
const aNextStep = expect.any(String) as string;
const answering = (fault: Fault, only = /./) => ({
  faults: ({ path }: { path: string }) => (only.test(path) ? fault : undefined),
});

describe('an address that is none of a cluster', () => {
  it.each([
    'gateway:8080',
    'ftp://gateway',
    'http://',
    'http://user:pass@gateway:8080',
    'http://gateway:8080/?x=1',
    'http://gateway#top',
  ])('%s', async (url) => {
    expect(await smokeFails({}, { url })).toMatchObject({ code: 'E_USAGE' });
  });
  it('a name that nobody knows is not waited for', async () => {
    expect(await smokeFails({}, { url: 'http://gateway.invalid:8080', timeout: 600 })).toMatchObject({
      code: 'E_NETWORK',
    });
  });
  it('https to a server that speaks http, and the other way round', async () => {
    const plain = await smokeAgainst({}, { timeout: 600 }, {});
    expect(plain.report).toMatchObject({ ok: true });
    const { context } = await testContext({ cwd: '/' });
    await withRaw('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n', async (port) => {
      await expect(
        smoke({ ...smokeDefaults, url: `https://127.0.0.1:${port}`, model, timeout: 600 }, context),
      ).rejects.toMatchObject({
        exit: 5,
        hint: expect.stringContaining(`\`http://127.0.0.1:${port}\``) as string,
      });
    });
    await context.close();
    const { startGateway } = await import('../support/sie.ts');
    const secure = await startGateway({ models: { [model]: { dim: 64 } }, tls: serverTls() });
    const url = secure.url.replace('https:', 'http:');
    expect(await smokeFails({}, { url, timeout: 5 })).toMatchObject({
      hint: expect.stringContaining(`\`${secure.url}\``) as string,
    });
    await secure.close();
    const error = await smokeFails({ tls: serverTls() }, {}, { during: ({ url }) => expect(url).toMatch(/^https:/) });
    expect(error).toMatchObject({ code: 'E_TLS' });
  });
  it.each<[string, Fault]>([
    ['a page of HTML', { kind: 'status', status: 200, headers: html, body: '<html>' }],
    ['a redirect to a login page', { kind: 'status', status: 302, headers: { location: 'https://login.zone/' } }],
    ['JSON of something else', { kind: 'status', status: 200, headers: json, body: '[1, 2' }],
    ['a list where an object belongs', { kind: 'status', status: 200, headers: json, body: '{"workers": 7}' }],
  ])('%s', async (_, fault) => {
    expect(await smokeFails(answering(fault), { timeout: 600 })).toMatchObject({ code: 'E_SMOKE', hint: aNextStep });
  });
  it('an ingress without a gateway behind it', async () => {
    const fault: Fault = { kind: 'status', status: 503, headers: html, body: '<html>' };
    expect(await smokeFails(answering(fault), { timeout: 10 })).toMatchObject({ code: 'E_REMOTE', hint: aNextStep });
  });
});

describe('an answer to an encode request', () => {
  it.each<[string, Fault]>([
    ['of HTML that says it is JSON', { kind: 'status', status: 200, headers: json, body: '<html>' }],
    [
      'of JSON that says it is msgpack',
      { kind: 'status', status: 200, headers: { 'content-type': 'application/x-msgpack' }, body: '{"items": []}' },
    ],
    ['of the wrong form', { kind: 'status', status: 200, headers: json, body: '{"items": [{"dense": [1, 2]}]}' }],
    [
      'of odd types',
      { kind: 'status', status: 400, headers: json, body: '{"message": {"a": 1}, "error": [2], "detail": 3}' },
    ],
    ['larger than any vector', { kind: 'status', status: 200, headers: json, body: large }],
  ])('%s fails at once', async (_, fault) => {
    expect(await smokeFails(answering(fault, /encode/), { timeout: 600 })).toMatchObject({ code: 'E_SMOKE' });
  });
  it.each<Fault>([{ kind: 'reset', after: 20 }, { kind: 'truncate', after: 20 }, { kind: 'lost' }])(
    'of a worker that dies while it answers ($kind) is asked for again',
    async (fault) => {
      let asked = 0;
      const { report } = await smokeAgainst({
        faults: ({ path }) => (path.includes('encode') && ++asked === 1 ? fault : undefined),
      });
      expect(report).toMatchObject({ ok: true });
    },
  );
  it('that trickles in is given up when the time is', async () => {
    const { context } = await testContext({ cwd: '/' });
    await withRaw(
      'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n',
      async (port) => {
        await expect(
          smoke({ ...smokeDefaults, url: `http://127.0.0.1:${port}`, model, timeout: 1 }, context),
        ).rejects.toMatchObject({
          code: 'E_NETWORK',
        });
      },
    );
    await context.close();
  });
});

it.each<Partial<SmokeOptions>>([
  { kind: 'score', dim: 99 },
  { kind: 'score', record: 'vectors.json' },
  { kind: 'extract', dtype: 'float16' },
  { kind: 'extract', output: 'sparse' },
  { kind: 'extract', golden: 'vectors.json' },
  { kind: 'openai', output: 'sparse' },
  { kind: 'openai', dtype: 'float16' },
  { tolerance: 0.1 },
  { revision: 'main' },
  { revision: 'aaaaaaa' },
])('what would not be looked at is refused: %j', async (options) => {
  const { error, gateway } = await smokeAgainst({ dialect: '0.10' }, options);
  expect(error).toMatchObject({ code: 'E_USAGE' });
  expect(gateway.server.requests).toHaveLength(0);
});

it('dimensions are not ignored for a model that gives none', async () => {
  const models = { [model]: { dim: 8, outputs: ['score' as const] } };
  expect(await smokeFails({ dialect: '0.10', models }, { dim: 99 })).toMatchObject({ code: 'E_SMOKE' });
});

it.each<[string, RegExp, Partial<SmokeOptions>]>([
  ['/health before a pool is made', /health/, { gpu: 'proof/l4', createPool: true }],
  ['/v1/models before all are asked', /models/, { model: undefined, all: 'lock.json' }],
])(
  'a gateway that takes %s and never answers is given up when the time is',
  async (_, only, options) => {
    const cwd = await scratch();
    await writeFile(join(cwd, 'lock.json'), lock);
    const hangs = answering({ kind: 'stall', after: 0 }, only);
    const error = await smokeFails(hangs, { timeout: 1, clock: undefined, ...options }, { cwd });
    expect(error).toMatchObject({ code: 'E_NETWORK' });
  },
  20_000,
);

it('a clock an hour off is told, and changes nothing', async () => {
  for (const clockAheadMs of [3_600_000, -3_600_000]) {
    const { report, notes } = await smokeAgainst({ clockAheadMs, provisionFor: { requests: 1 } });
    expect(report).toMatchObject({ ok: true });
    expect(notes.filter((note) => note.includes('60 minutes'))).toHaveLength(1);
  }
});

it('an authority of its own is trusted with --ca', async () => {
  const { startGateway } = await import('../support/sie.ts');
  const gateway = await startGateway({ models: { [model]: { dim: 64 } }, tls: serverTls() });
  const { context } = await testContext({ cwd: '/', ca: tlsPath('ca.pem') });
  expect(await smoke({ ...smokeDefaults, url: gateway.url, model, timeout: 5 }, context)).toMatchObject({ ok: true });
  await context.close();
  await gateway.close();
});

const raw: Server[] = [];
afterEach(() => {
  for (const server of raw.splice(0)) server.close();
});

/** A server that sends this, and then a byte now and then. */
async function withRaw(head: string, work: (port: number) => Promise<void>): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(head);
    const timer = setInterval(() => socket.write(' '), 50);
    socket.on('close', () => clearInterval(timer));
  });
  raw.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await work((server.address() as AddressInfo).port);
}
