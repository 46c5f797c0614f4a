import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decode, encode } from '@msgpack/msgpack';
import { afterEach, describe, expect, it } from 'vitest';
import { projectRoot } from './cli.ts';
import { msgpackAnswer } from './sie-wire.ts';
import { startGateway, type Answer, type GatewayOptions, type TestGateway } from './sie.ts';

const ID = 'BAAI/bge-m3';
const GPU = { name: 'gpu', profile: 'l4', memoryTotalBytes: 24e9, healthy: true, bundle: 'default' };
const CPU = { name: 'cpu', profile: 'cpu', memoryTotalBytes: 0, healthy: true, bundle: 'default' };
const MSGPACK = { accept: 'application/msgpack' };
const running: TestGateway[] = [];

interface Ndarray {
  type: string;
  shape: number[];
  data: Uint8Array;
}

interface Body<T> {
  model: string;
  items: { id?: string; dense: { dims: number; dtype: string; values: T } | null }[];
}

async function start(options: Partial<GatewayOptions> = {}): Promise<TestGateway> {
  const gateway = await startGateway({ models: { [ID]: { dim: 4 } }, ...options });
  running.push(gateway);
  return gateway;
}

async function ask(gateway: TestGateway, headers: Record<string, string> = {}, target = ID): Promise<Response> {
  const body = JSON.stringify({ items: [{ id: 'one', text: 'hello world' }], params: { output_types: ['dense'] } });
  const init = { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } };
  return fetch(`${gateway.url}/v1/encode/${target}`, init);
}

async function unpack(response: Response): Promise<Body<Ndarray>> {
  const mapKeyConverter = (key: unknown): string =>
    key instanceof Uint8Array ? Buffer.from(key).toString() : String(key);
  return decode(await response.arrayBuffer(), { mapKeyConverter }) as Body<Ndarray>;
}

/** Names and types, but not what differs from one model to another. */
function formOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(formOf);
  if (typeof value !== 'object' || value === null) return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, formOf(each)]));
}

async function json(response: Response): Promise<unknown> {
  return response.json();
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((gateway) => gateway.close()));
});

describe('answers', () => {
  it('is to the byte what a real gateway sent', () => {
    const hex =
      '82a56d6f64656cab424141492f6267652d6d33a56974656d739181a564656e736583a464696d7304a56474797065a7666c6f61743332' +
      'a676616c75657385c4026e64c3c40474797065a33c6634c4046b696e64c400c40573686170659104c40464617461c410';
    const data = Buffer.from('c77413bf06e8a33dac1dc33e8dff37bf', 'hex');
    const values = [...new Float32Array(data.buffer, data.byteOffset, 4)];
    expect(msgpackAnswer(ID, [{ output: 'dense', dtype: '<f4', dims: 4, values }]).toString('hex')).toBe(
      hex + data.toString('hex'),
    );
  });

  it('is JSON by default, msgpack when asked, and reads both', async () => {
    const gateway = await start();
    const plain = (await json(await ask(gateway))) as Body<number[]>;
    expect(plain).toMatchObject({ model: ID, items: [{ dense: { dims: 4, dtype: 'float32' } }] });
    const body = encode({ items: [{ text: 'hello world' }] });
    const init = { method: 'POST', body, headers: { ...MSGPACK, 'content-type': 'application/msgpack' } };
    const response = await fetch(`${gateway.url}/v1/encode/${ID}`, init);
    expect(response.headers.get('content-type')).toBe('application/x-msgpack');
    expect(response.headers.get('x-sie-worker')).toBe(`queue:${response.headers.get('x-sie-request-id')}`);
    const packed = (await unpack(response)).items[0]?.dense?.values;
    expect(packed).toMatchObject({ nd: true, type: '<f4', shape: [4] });
    const numbers = new Float32Array(Uint8Array.from(packed?.data ?? []).buffer);
    expect(Math.hypot(...numbers)).toBeCloseTo(1, 5);
    expect(numbers[0]).toBeCloseTo(plain.items[0]?.dense?.values[0] ?? 0, 6);
  });

  it.each([
    ['<f2', [0x3c, 0x00, 0xb8, 0x00, 0x2e, 0x66], 'float16'],
    ['>f2', [0x3c, 0x00, 0xb8, 0x00, 0x2e, 0x66], 'float16'],
    ['|i1', [127, 256 - 63, 13], 'int8'],
  ] as const)('has numbers of %s', async (dtype, bytes, name) => {
    const gateway = await start({ models: { [ID]: { dim: 3, dtype, vector: () => [1, -0.5, 0.1] } } });
    const dense = (await unpack(await ask(gateway, MSGPACK))).items[0]?.dense;
    const swap = dtype.startsWith('<') ? Buffer.from(bytes).swap16() : Buffer.from(bytes);
    expect(dense?.dtype).toBe(name);
    expect(Buffer.from(dense?.values.data ?? [])).toStrictEqual(swap);
  });

  it.each([
    ['wrongDim', { items: [{ dense: { dims: 3 } }] }],
    ['zeros', { items: [{ dense: { values: [0, 0, 0, 0] } }] }],
    ['nan', { items: [{ dense: { values: [null, expect.any(Number), expect.any(Number), expect.any(Number)] } }] }],
    ['null', { items: [{ dense: null }] }],
  ] satisfies [Answer, object][])('may be %s', async (answer, expected) => {
    expect(await json(await ask(await start({ answer })))).toMatchObject(expected);
  });

  it.each(['truncated', 'html'] satisfies Answer[])('may be %s', async (answer) => {
    const gateway = await start({ answer });
    await expect(unpack(await ask(gateway, MSGPACK))).rejects.toBeInstanceOf(Error);
    await expect(json(await ask(gateway))).rejects.toBeInstanceOf(Error);
  });
});

describe('routing', () => {
  it('takes the path raw', async () => {
    const gateway = await start();
    expect((await ask(gateway, {}, ID.replace('/', '%2F'))).status).toBe(404);
    expect((await ask(gateway, {}, `default:/${ID}`)).status).toBe(200);
    const wrong = await ask(gateway, {}, `other:/${ID}`);
    expect([wrong.status, await json(wrong)]).toMatchObject([409, { compatible_bundles: ['default'] }]);
    const none = await ask(gateway, {}, '');
    expect([none.status, await none.text()]).toStrictEqual([404, '']);
    const nothing = await ask(gateway, MSGPACK, 'no/model');
    expect([nothing.status, nothing.headers.get('content-type')]).toStrictEqual([404, 'application/json']);
  });

  it('falls back to the CPU without saying so', async () => {
    const gateway = await start({ workers: [{ ...GPU, healthy: false }, CPU] });
    expect((await ask(gateway, { 'x-sie-machine-profile': 'L4' })).status).toBe(200);
    expect(gateway.served).toStrictEqual([{ model: ID, worker: 'cpu', profile: 'cpu' }]);
    const body = await json(await fetch(`${gateway.url}/health`));
    expect(body).toMatchObject({
      status: 'healthy',
      type: 'gateway',
      cluster: { worker_count: 1, gpu_count: 1, models_loaded: 1 },
      configured_gpu_types: ['l4', 'cpu'],
      live_gpu_types: ['cpu'],
      workers: [
        { name: 'gpu', healthy: false },
        { name: 'cpu', memory_total_bytes: 0, loaded_models: [ID] },
      ],
    });
  });

  it('names the configured profiles for another one, and takes the spot one', async () => {
    const gateway = await start({ configuredProfiles: ['l4-spot'] });
    expect((await ask(gateway, { 'x-sie-machine-profile': 'l4' })).status).toBe(200);
    const response = await ask(gateway, { 'x-sie-machine-profile': 'h100' });
    const body = { status: 'gpu_not_configured', configured_gpu_types: ['l4-spot'] };
    expect([response.status, await json(response)]).toMatchObject([503, body]);
  });

  it('provisions for a number of requests, or for a time', async () => {
    const gateway = await start({ provisionFor: { requests: 2 } });
    const first = await ask(gateway, { 'x-sie-machine-profile': 'l4' });
    const body = { status: 'provisioning', gpu: 'l4', bundle: 'default', estimated_wait_s: 180 };
    expect([first.status, first.headers.get('retry-after'), await json(first)]).toMatchObject([202, '120', body]);
    expect(await json(await fetch(`${gateway.url}/health`))).toMatchObject({
      status: 'degraded',
      live_gpu_types: [],
    });
    expect((await ask(gateway)).status).toBe(202);
    expect(await json(await fetch(`${gateway.url}/health`))).toMatchObject({
      status: 'healthy',
      live_gpu_types: ['l4'],
    });
    expect((await ask(gateway)).status).toBe(200);
    const timed = await start({ provisionFor: { ms: 50 }, dialect: '0.10' });
    const newer = await ask(timed);
    expect([newer.status, newer.headers.get('x-sie-error-code')]).toStrictEqual([503, 'PROVISIONING']);
    expect(await json(newer)).toMatchObject({ error: { code: 'PROVISIONING' } });
    await expect.poll(async () => (await ask(timed)).status).toBe(200);
  });

  it('provisions for ever when no worker can take work', async () => {
    expect((await ask(await start({ workers: [{ ...GPU, sendsNoPool: true }] }))).status).toBe(202);
    expect((await ask(await start({ workers: [] }))).status).toBe(202);
  });

  it('tells of what a 0.10 gateway knows', async () => {
    const models = { [ID]: { dim: 4, revision: 'a'.repeat(40) } };
    const { headers } = await ask(await start({ dialect: '0.10', models }));
    expect([headers.get('x-sie-served-by'), headers.get('x-sie-model-revision')]).toStrictEqual([
      'local',
      'a'.repeat(40),
    ]);
  });
});

describe('loading', () => {
  it('loads after a while, or never', async () => {
    const models = { [ID]: { dim: 4, loadAfterMs: 50 }, never: { dim: 4, neverLoads: true } };
    const gateway = await start({ models });
    const first = await ask(gateway, MSGPACK);
    expect([first.status, first.headers.get('retry-after')]).toStrictEqual([503, '5']);
    expect(first.headers.get('x-sie-error-code')).toBe('MODEL_LOADING');
    await expect.poll(async () => (await ask(gateway)).status).toBe(200);
    expect(await json(await fetch(`${gateway.url}/v1/models/${ID}`))).toMatchObject({ name: ID, loaded: true });
    const newer = await start({ models, dialect: '0.10' });
    await ask(newer, {}, 'never');
    expect(await json(await fetch(`${newer.url}/v1/models/never`))).toMatchObject({
      outputs: ['dense'],
      state: 'available',
      last_error: null,
    });
    for (const id of ['never', 'baai/BGE-m3']) {
      for (let index = 0; index < 3; index += 1) expect((await ask(gateway, {}, id)).status).toBe(503);
    }
    const list = await json(await fetch(`${gateway.url}/v1/models`));
    expect(list).toMatchObject({
      models: [
        { loaded: true, bundles: ['default'] },
        { name: 'never', loaded: false },
      ],
    });
    expect(gateway.loaded()).toStrictEqual([ID]);
  });

  it.each([
    ['0.3', '0.3.4'],
    ['0.10', '0.10.1'],
  ] as const)('is told by a worker of %s as its package tells it', async (dialect, release) => {
    const failed = { dim: 1024, neverLoads: true, errorClass: 'OOM' as const, revision: 'a'.repeat(40) };
    const models = { [ID]: { dim: 1024, revision: 'a'.repeat(40) }, 'org/failed': failed };
    const worker = await start({ models, dialect, standalone: true });
    for (const id of Object.keys(models)) await ask(worker, {}, id);
    const pages = JSON.parse(await readFile(join(projectRoot, 'fixtures/worker-models.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(formOf(await json(await fetch(`${worker.url}/v1/models`)))).toEqual(formOf(pages[release]));
  });

  it('fails on a standalone worker', async () => {
    const models = { [ID]: { dim: 4 }, bad: { dim: 4, neverLoads: true, errorClass: 'OOM' as const } };
    const worker = await start({ models, standalone: true });
    expect((await ask(worker, {}, 'bad')).status).toBe(503);
    const failed = await ask(worker, {}, 'bad');
    const detail = { code: 'MODEL_LOAD_FAILED', error_class: 'OOM', permanent: true };
    expect([failed.status, await json(failed)]).toMatchObject([502, { detail }]);
    const list = await json(await fetch(`${worker.url}/v1/models`));
    expect(list).toMatchObject({ models: [{}, { state: 'failed', last_error: { code: 'OOM' } }] });
    const good = await ask(worker);
    expect(good.headers.get('content-type')).toBe('application/msgpack');
    expect((await unpack(good)).items[0]?.id).toBe('one');
    expect(await json(await ask(worker, { accept: 'application/json' }))).toMatchObject({ model: ID });
    expect((await fetch(`${worker.url}/health`)).status).toBe(404);
    expect(await (await fetch(`${worker.url}/healthz`)).text()).toBe('ok');
    const misdirected = await ask(worker, { 'x-sie-machine-profile': 'cpu' }, 'none');
    expect([misdirected.status, await json(misdirected)]).toMatchObject([400, { detail: { worker_identity: 'l4' } }]);
    expect((await ask(worker, {}, 'none')).status).toBe(500);
  });
});

describe('strictness', () => {
  it('wants the token, but not for probes', async () => {
    const gateway = await start({ token: 'secret' });
    expect((await ask(gateway)).status).toBe(401);
    expect((await ask(gateway, { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await ask(gateway, { authorization: 'Bearer secret' })).status).toBe(200);
    expect((await ask(gateway, { authorization: 'secret' })).status).toBe(200);
    expect((await fetch(`${gateway.url}/health`)).status).toBe(401);
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
  });

  it('refuses a body without items', async () => {
    const gateway = await start();
    const response = await fetch(`${gateway.url}/v1/encode/${ID}`, { method: 'POST', body: '{}' });
    expect(response.status).toBe(400);
  });

  it('fails the test for a pool by name, and for what it does not know', async () => {
    const gateway = await startGateway({ models: { [ID]: { dim: 4 } } });
    await ask(gateway, { 'x-sie-machine-profile': 'pool/l4' });
    await fetch(`${gateway.url}/metrics`);
    await expect(gateway.close()).rejects.toThrow(`POST /v1/encode/${ID}, GET /metrics`);
  });
});
