import { describe, expect, it } from 'vitest';
import { withPool } from '../../src/commands/smoke/pool.ts';
import { SieClient } from '../../src/sie/client.ts';
import { testContext } from '../support/context.ts';
import { startGateway } from '../support/sie.ts';
import {
  cpuWorker as cpu,
  hastyClock,
  l4Worker as l4,
  smokeAgainst,
  smokeFails,
  smokeModel as model,
  smokePasses,
} from '../support/smoke.ts';

const containing = (text: string): string => expect.stringContaining(text) as string;
const proofOf = (report: Awaited<ReturnType<typeof smokePasses>>): unknown => report.items[0]?.detail?.['proof'];
const models = { [model]: { dim: 64 } };

describe.each(['0.3', '0.10'] as const)('the GPU that must have answered a gateway of SIE %s', (dialect) => {
  const switches = { dialect, models };

  it('is named when no other worker was live', async () => {
    const report = await smokePasses({ ...switches, workers: [l4] }, { gpu: 'L4' });
    expect(proofOf(report)).toMatchObject({ by: 'alone', workers: ['gpu-0'] });
    expect(report.facts?.['proof']).toContain('l4');
  });
  it('may be one of spot machines', async () => {
    const workers = [{ ...l4, profile: 'l4-spot' }];
    expect(proofOf(await smokePasses({ ...switches, workers }, { gpu: 'l4' }))).toMatchObject({ by: 'alone' });
  });
  it('is told from a CPU worker that did not load the model', async () => {
    const { report, gateway } = await smokeAgainst({ ...switches, workers: [l4, cpu] }, { gpu: 'l4' });
    expect(proofOf(report as NonNullable<typeof report>)).toMatchObject({ by: 'loaded' });
    expect(new Set(gateway.served.map(({ worker }) => worker))).toEqual(new Set(['gpu-0']));
  });
  it('is told from a CPU worker that has the model too, by many answers that agree to the last bit', async () => {
    const workers = [l4, { ...cpu, warm: [model], noise: 1e-6 }];
    const report = await smokePasses({ ...switches, workers }, { gpu: 'l4' });
    expect(proofOf(report)).toMatchObject({ by: 'bits', requests: 24 });
  });
  it('is not proven when a CPU worker reads the same queue', async () => {
    const workers = [
      { ...l4, pool: 'shared' },
      { ...cpu, pool: 'shared', noise: 1e-6 },
    ];
    const { error, gateway } = await smokeAgainst({ ...switches, workers }, { gpu: 'l4' });
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('cpu-0'), hint: containing('SIE_POOL') });
    expect(new Set(gateway.served.map(({ worker }) => worker))).toEqual(new Set(['gpu-0', 'cpu-0']));
  });
  it.each([{}, { namesInstances: true }])(
    'is not proven by a CPU worker that did all of the work: %j',
    async (more) => {
      const workers = [{ ...l4, sendsNoPool: true }, cpu];
      const { error, gateway } = await smokeAgainst({ ...switches, ...more, workers }, { gpu: 'l4' });
      expect(error).toMatchObject({ code: 'E_SMOKE', exit: 9, message: containing('`cpu-0` loaded the model') });
      expect(new Set(gateway.served.map(({ worker }) => worker))).toEqual(new Set(['cpu-0']));
    },
  );
  it.each([{}, { namesInstances: true }])('is not proven when nothing shows that it took part: %j', async (more) => {
    const error = await smokeFails(
      {
        ...switches,
        ...more,
        workers: [
          { ...l4, sendsNoPool: true, tellsLoaded: false },
          { ...cpu, warm: [model] },
        ],
      },
      { gpu: 'l4' },
    );
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('nothing shows that `gpu-0` took part') });
  });
  it.each([
    [{}, '2 different answers'],
    [{ namesInstances: dialect === '0.10' }, dialect === '0.10' ? '2 processes answered' : '2 different answers'],
  ])('is not proven by what is loaded when the answers say otherwise: %j', async (more, said) => {
    const workers = [
      { ...l4, pool: 'shared', warm: [model] },
      { ...cpu, pool: 'shared', noise: 1e-6, staleLooks: 1000 },
    ];
    const error = await smokeFails({ ...switches, ...more, workers }, { gpu: 'l4' });
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing(said) });
  });
  it('is told from workers of another SIE bundle', async () => {
    const workers = [l4, { ...cpu, bundle: 'sglang', warm: [model] }];
    expect(proofOf(await smokePasses({ ...switches, workers }, { gpu: 'l4' }))).toMatchObject({ by: 'alone' });
  });
  it('a CPU worker that answered for it silently is no GPU', async () => {
    const { error, gateway } = await smokeAgainst(
      { ...switches, workers: [cpu], configuredProfiles: ['l4', 'cpu'] },
      { gpu: 'l4', timeout: 600 },
    );
    expect(error).toMatchObject({ code: 'E_SMOKE', exit: 9, message: containing('cpu-0') });
    expect(gateway.served[0]?.profile).toBe('cpu');
  });
  it('a dead worker is no GPU', async () => {
    const workers = [{ ...l4, healthy: false }, cpu];
    expect(await smokeFails({ ...switches, workers }, { gpu: 'l4' })).toMatchObject({ code: 'E_SMOKE' });
  });
  it('a worker of that profile without GPU memory is no GPU', async () => {
    const workers = [{ ...l4, memoryTotalBytes: 0 }];
    expect(await smokeFails({ ...switches, workers }, { gpu: 'l4' })).toMatchObject({ code: 'E_SMOKE' });
  });
  it('a worker that died in between is none', async () => {
    const error = await smokeFails(
      { ...switches, workers: [l4, cpu] },
      { gpu: 'l4' },
      {
        during: ({ server, workers }) => {
          server.gate = ({ method }) => {
            const [first] = workers;
            if (first && method === 'POST' && server.count(/POST/) > 2) first.healthy = false;
            return undefined;
          };
        },
      },
    );
    expect(error).toMatchObject({ code: 'E_SMOKE' });
  });
  it('a profile that is not configured fails at once', async () => {
    expect(await smokeFails(switches, { gpu: 'h100', timeout: 600 })).toMatchObject({
      code: 'E_SMOKE',
      message: containing('l4'),
    });
  });
  it('is not wanted of the profile cpu', async () => {
    expect(proofOf(await smokePasses({ ...switches, workers: [cpu] }, { gpu: 'cpu' }))).toMatchObject({ by: 'alone' });
  });
});

describe('workers on the same hardware', () => {
  const big = { ...l4, name: 'big-0', profile: 'a100-80gb', warm: [model] };
  const small = { ...l4, name: 'small-0', profile: 'a100-40gb', warm: [model] };

  it('are not told apart by bits', async () => {
    const error = await smokeFails({ models, workers: [big, small] }, { gpu: 'a100-80gb' });
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('small-0'), hint: containing('--pool') });
  });
  it('are told apart where answers name the process', async () => {
    const switches = { models, dialect: '0.10' as const, namesInstances: true };
    const report = await smokePasses({ ...switches, workers: [big, small] }, { gpu: 'a100-80gb' });
    expect(proofOf(report)).toMatchObject({ by: 'instance', workers: ['big-0'] });
    const shared = [big, small].map((worker) => ({ ...worker, pool: 'shared' }));
    expect(await smokeFails({ ...switches, workers: shared }, { gpu: 'a100-80gb' })).toMatchObject({
      message: containing('2 processes answered'),
    });
  });
});

it('two processes are not those of two GPUs when one of these gets no work', async () => {
  const workers = [
    { ...l4, pool: 'shared', warm: [model] },
    { ...l4, name: 'gpu-1', sendsNoPool: true, warm: [model] },
    { ...cpu, pool: 'shared', warm: [model], noise: 1e-6 },
  ];
  const error = await smokeFails({ dialect: '0.10', namesInstances: true, models, workers }, { gpu: 'l4' });
  expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('2 different answers') });
  const pair = ['gpu-0', 'gpu-1'].map((name) => ({ ...l4, name, warm: [model] }));
  const report = await smokePasses(
    { dialect: '0.10', namesInstances: true, models, workers: [...pair, { ...cpu, warm: [model] }] },
    { gpu: 'l4' },
  );
  expect(proofOf(report)).toMatchObject({ by: 'instance', workers: ['gpu-0', 'gpu-1'] });
});

describe('a GPU that has the model, and gets no work', () => {
  const idle = { ...l4, sendsNoPool: true, warm: [model] };

  it('is not proven while the gateway has not heard yet what another worker loaded', async () => {
    const { error, gateway } = await smokeAgainst(
      { models, workers: [idle, { ...cpu, staleLooks: 6 }] },
      { gpu: 'l4' },
    );
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('`cpu-0` loaded the model meanwhile') });
    expect(new Set(gateway.served.map(({ worker }) => worker))).toEqual(new Set(['cpu-0']));
  });
  it('is not proven by what is loaded when there is no time to hear of it', async () => {
    const clock = hastyClock();
    let late = 0;
    const slow = { ...clock, now: () => clock.now() + late };
    const error = await smokeFails(
      {
        models,
        workers: [
          { ...idle, profile: 'a100-80gb' },
          { ...cpu, profile: 'a100-40gb', memoryTotalBytes: 1 },
        ],
      },
      { gpu: 'a100-80gb', timeout: 10, clock: slow },
      {
        during: ({ server, workers: [, other] }) => {
          if (other) other.staleLooks = 1000;
          server.gate = ({ method }) => {
            // The last answer comes when half a second is left.
            if (method === 'POST' && server.count(/POST/) === 24) late = 9500;
            return undefined;
          };
        },
      },
    );
    expect(error).toMatchObject({ code: 'E_SMOKE' });
  });
  it('is not taken for one when the other loads the model because the same run asks it too', async () => {
    const workers = [{ ...l4, warm: [model] }, cpu];
    const { report } = await smokeAgainst({ models, workers }, { gpu: 'l4,cpu' }, { concurrency: 2 });
    expect(report).toMatchObject({ ok: true });
  });
});

describe('a pool', () => {
  const workers = [l4, cpu];

  it('is named to the gateway once its worker is up, and leaves out who is not in it', async () => {
    const switches = { models, workers: [l4, { ...cpu, warm: [model] }], pools: { eval: ['l4'] } };
    const { report, gateway } = await smokeAgainst(switches, { gpu: 'eval/l4' });
    expect(proofOf(report as NonNullable<typeof report>)).toMatchObject({ by: 'alone' });
    const named = gateway.server.requests.filter(({ headers }) => headers['x-sie-pool'] === 'eval');
    expect(named.length).toBeGreaterThan(3);
    expect(named[0]?.headers['x-sie-machine-profile']).toBe('l4');
  });
  it('is never named before its worker is up', async () => {
    const { error, gateway } = await smokeAgainst(
      { models, workers: [{ ...l4, healthy: false }, cpu], pools: { eval: ['l4'] } },
      { gpu: 'l4', pool: 'eval', timeout: 20 },
    );
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('no live worker') });
    expect(gateway.server.requests.some(({ headers }) => headers['x-sie-pool'] !== undefined)).toBe(false);
  });
  it('that does not exist is not found', async () => {
    expect(await smokeFails({ models }, { gpu: 'l4', pool: 'eval' })).toMatchObject({
      code: 'E_NOT_FOUND',
      hint: containing('--create-pool'),
    });
  });
  it('is made and removed', async () => {
    const { report, notes, gateway } = await smokeAgainst({ models, workers }, { gpu: 'smoke/l4', createPool: true });
    expect(report).toMatchObject({ ok: true });
    expect(gateway.pools()).toEqual([]);
    expect(notes).toEqual(expect.arrayContaining([containing('made the pool'), containing('removed the pool')]));
  });
  it('is made when the gateway has started', async () => {
    let count = 0;
    const faults = () => (++count < 3 ? { kind: 'reset' as const, after: 0 } : undefined);
    const { report } = await smokeAgainst({ models, workers, faults }, { gpu: 'smoke/l4', createPool: true });
    expect(report).toMatchObject({ ok: true });
  });
  it('is removed when the run fails, and when it is stopped', async () => {
    const options = { gpu: 'smoke/l4', createPool: true, timeout: 600 };
    const failed = await smokeAgainst({ models, workers, answer: 'zeros' }, options);
    expect([failed.error?.code, failed.gateway.pools()]).toEqual(['E_SMOKE', []]);
    const never = { [model]: { dim: 8, neverLoads: true } };
    const stopped = await smokeAgainst({ models: never, workers }, options, {
      during: ({ server }, stop) => {
        server.gate = ({ path }) => {
          if (path.startsWith('/v1/encode')) setImmediate(stop);
          return undefined;
        };
      },
    });
    expect([stopped.error?.code, stopped.gateway.pools()]).toEqual(['E_ABORTED', []]);
    expect(stopped.gateway.server.count(/DELETE \/v1\/pools\/smoke/)).toBe(1);
  });
  it('is removed when the run was stopped before it heard that it was made', async () => {
    const { error, gateway } = await smokeAgainst(
      { models, workers },
      { gpu: 'smoke/l4', createPool: true },
      {
        during: ({ server }, stop) => {
          server.gate = ({ method, path }) => {
            if (method !== 'POST' || path !== '/v1/pools') return undefined;
            stop();
            // The gateway makes it all the same.
            return new Promise((resolve) => setTimeout(resolve, 20));
          };
        },
      },
    );
    expect([error?.code, gateway.server.count(/DELETE \/v1\/pools\/smoke/)]).toEqual(['E_ABORTED', 1]);
  });
  it('that is there already is neither made nor removed', async () => {
    const switches = { models, workers, pools: { eval: ['l4'] } };
    const { error, gateway } = await smokeAgainst(switches, { gpu: 'eval/l4', createPool: true });
    expect([error?.code, gateway.pools()]).toEqual(['E_REFUSED', ['eval']]);
    expect(gateway.server.count(/(?:POST|DELETE) \/v1\/pools/)).toBe(0);
  });
  it('is read with the token that encodes, and made with the admin token, which does not encode', async () => {
    const switches = { models, workers, token: 'user', adminToken: 'admin', pools: { eval: ['l4'] } };
    const user = { SIE_AUTH_TOKEN: 'user' };
    const admin = { ...user, SIE_ADMIN_TOKEN: 'admin' };
    expect(await smokePasses(switches, { gpu: 'eval/l4' }, { env: user })).toMatchObject({ ok: true });
    expect(await smokePasses(switches, { gpu: 'eval/l4' }, { env: admin })).toMatchObject({ ok: true });
    const made = { gpu: 'smoke/l4', createPool: true };
    expect(await smokeFails(switches, made, { env: user })).toMatchObject({
      code: 'E_AUTH',
      hint: containing('SIE_ADMIN_TOKEN'),
    });
    expect(await smokePasses(switches, made, { env: admin })).toMatchObject({ ok: true });
  });
  it('keeps its lease while it is used', async () => {
    const gateway = await startGateway({ models, workers });
    const { context } = await testContext({ cwd: '/' });
    const client = new SieClient(context.http, gateway.url, { token: undefined });
    const pool = { name: 'eval', gpus: { l4: 1 } };
    await withPool(
      client,
      pool,
      context.report,
      async () => {
        await expect.poll(() => gateway.renewed.length).toBeGreaterThan(1);
      },
      20,
    );
    expect(gateway.pools()).toEqual([]);
    await context.close();
    await gateway.close();
  });
  it.each([
    [{ createPool: true, gpu: 'l4' }],
    [{ createPool: true, pool: 'eval' }],
    [{ pool: 'a b' }],
    [{ gpu: '../l4' }],
    [{ gpu: 'a/l4,b/cpu' }],
    [{ pool: 'a', gpu: 'b/l4' }],
  ])('that makes no sense is a usage error: %j', async (options) => {
    expect(await smokeFails({ models }, options)).toMatchObject({ code: 'E_USAGE' });
  });
});
