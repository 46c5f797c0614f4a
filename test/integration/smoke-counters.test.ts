import { describe, expect, it } from 'vitest';
import type { GatewayOptions, TestGateway } from '../support/sie.ts';
import { startGateway } from '../support/sie.ts';
import {
  cpuWorker as cpu,
  l4Worker as l4,
  smokeAgainst,
  smokeModel as model,
  type SmokeOutcome,
} from '../support/smoke.ts';

const models = { [model]: { dim: 32 } };
const containing = (text: string): string => expect.stringContaining(text) as string;

interface Case {
  switches?: Partial<GatewayOptions>;
  /** Workers that can be asked themselves. */
  open: string[];
  /** `--worker`; default those that can be asked. */
  workers?: (urls: string[]) => string[];
  options?: Parameters<typeof smokeAgainst>[1];
  env?: Record<string, string>;
  meanwhile?: (gateway: TestGateway) => void;
}

/** Runs smoke on the profile l4, and hands back what it said of the counters and of the proof. */
async function ask(given: Case): Promise<SmokeOutcome & { counters: unknown; proof: unknown; asked: string[] }> {
  const gateway = await startGateway({ models, workers: [l4], ...given.switches });
  const opened = await Promise.all(given.open.map((name) => gateway.open(name)));
  const urls = opened.map(({ url }) => url);
  given.meanwhile?.(gateway);
  try {
    const options = { gpu: 'l4', url: gateway.url, workers: given.workers?.(urls) ?? urls, ...given.options };
    const outcome = await smokeAgainst({}, options, { env: given.env ?? {} });
    const detail = outcome.report?.items[0]?.detail;
    const asked = opened.flatMap(({ requests }) =>
      requests.map(({ method, path, headers }) => `${method} ${path} ${headers.authorization ?? ''}`.trim()),
    );
    return { ...outcome, counters: detail?.['counters'], proof: detail?.['proof'], asked };
  } finally {
    await gateway.close();
  }
}

it('the counters of the worker that answered moved by what it was asked', async () => {
  const { counters, report, asked } = await ask({ open: ['gpu-0'] });
  expect(counters).toMatchObject({ seen: 'moved', moved: 4 });
  expect(report?.summary.join('\n')).toContain('own counters: moved by 4 for 4 requests, at `gpu-0`');
  expect(new Set(asked)).toEqual(new Set(['GET /metrics', `GET /v1/models/${model}`]));
});

it('the counters of a standalone worker are read from itself', async () => {
  const { report } = await smokeAgainst({ models, standalone: true });
  expect(report?.items[0]?.detail?.['counters']).toMatchObject({ seen: 'moved', moved: 4 });
});

it('a worker whose counters did not move gave no answer', async () => {
  const other = await startGateway({ models, workers: [{ ...l4, name: 'gpu-9' }], standalone: true });
  const { error } = await ask({ open: [], workers: () => [other.url] });
  await other.close();
  expect(error).toMatchObject({ code: 'E_SMOKE', exit: 9, message: containing('did not move') });
});

it('counters that moved too little name the answers that came from elsewhere', async () => {
  const workers = [
    { ...l4, pool: 'shared' },
    { ...cpu, pool: 'shared' },
  ];
  const { error } = await ask({ switches: { workers }, open: ['gpu-0', 'cpu-0'], workers: () => ['listed'] });
  expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('moved by 12 only') });
});

it('counters exclude workers on the same hardware that did nothing, where nothing else tells them apart', async () => {
  const big = { ...l4, name: 'big-0', profile: 'a100-80gb', warm: [model] };
  const small = { ...l4, name: 'small-0', profile: 'a100-40gb', warm: [model] };
  const switches = { workers: [big, small] };
  const options = { gpu: 'a100-80gb' };
  expect((await ask({ switches, open: ['big-0'], workers: () => [], options })).error?.code).toBe('E_SMOKE');
  expect((await ask({ switches, open: ['big-0'], options })).proof).toMatchObject({ by: 'counters' });
  const busy = await ask({
    switches,
    open: ['big-0', 'small-0'],
    workers: () => ['listed'],
    options,
  });
  expect(busy.proof).toMatchObject({ by: 'counters', workers: ['big-0'], requests: 24 });
});

describe('an address that the gateway does not list', () => {
  const unlisted = (gateway: TestGateway): void => {
    for (const worker of gateway.workers) delete worker.url;
  };
  const big = { ...l4, name: 'big-0', profile: 'a100-80gb', warm: [model] };
  const small = { ...l4, name: 'small-0', profile: 'a100-40gb', warm: [model] };
  const options = { gpu: 'a100-80gb' };

  it.each(['0.3', '0.10'] as const)('is no GPU when it is that of a CPU worker of SIE %s', async (dialect) => {
    for (const warm of [[], [model]]) {
      const workers = [{ ...l4, sendsNoPool: true, warm }, cpu];
      const switches = { dialect, workers, namesInstances: true };
      const { error } = await ask({ switches, open: ['cpu-0'], meanwhile: unlisted });
      expect(error).toMatchObject({ code: 'E_SMOKE', exit: 9, message: containing('(cpu)') });
    }
  });
  it('is that of the wanted worker when it says that it is of that profile', async () => {
    const switches = { workers: [big, small] };
    const found = await ask({ switches, open: ['big-0'], options, meanwhile: unlisted });
    expect(found.proof).toMatchObject({ by: 'counters', workers: ['big-0'] });
    expect(found.counters).toMatchObject({ seen: 'moved', moved: 24, text: containing('(a100-80gb)') });
    expect(new Set(found.asked)).toEqual(
      new Set(['GET /metrics', `GET /v1/models/${model}`, `POST /v1/encode/${model}`]),
    );
  });
  it.each([
    ['it names no profile', { ...big, hidesProfile: true }, small],
    ['a worker without GPU memory has that profile too', big, { ...small, profile: big.profile, memoryTotalBytes: 0 }],
  ])('proves nothing when %s', async (_, ...workers) => {
    const { error } = await ask({ switches: { workers }, open: ['big-0'], options, meanwhile: unlisted });
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('same hardware') });
    const alone = await ask({
      switches: { workers: workers.slice(0, 1).map((worker) => ({ ...worker, hidesProfile: true })) },
      open: ['big-0'],
      options,
      meanwhile: unlisted,
    });
    expect(alone.counters).toMatchObject({ seen: 'not seen', text: containing('not known which worker this is') });
  });
  it('is not counted beside the listed address of the same worker', async () => {
    const shared = [
      { ...big, pool: 'shared' },
      { ...small, pool: 'shared' },
    ];
    const gateway = await startGateway({ models, workers: shared });
    const address = (await gateway.open('big-0')).url;
    await gateway.open('big-0');
    const { error } = await smokeAgainst({}, { ...options, url: gateway.url, workers: [address, 'listed'] });
    await gateway.close();
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('moved by 12 only') });
  });
});

it('signatures and counters of another worker speak against the one that was wanted', async () => {
  const workers = [
    { ...l4, sendsNoPool: true, warm: [model] },
    { ...cpu, warm: [model] },
  ];
  for (const [dialect, said] of [
    ['0.10', 'signed by `cpu-0`'],
    ['0.3', 'counters of `cpu-0`'],
  ] as const) {
    const { error } = await ask({ switches: { dialect, namesInstances: true, workers }, open: ['cpu-0'] });
    expect(error).toMatchObject({ code: 'E_SMOKE', message: containing(said) });
  }
});

it('requests of others do not make up for those that went elsewhere', async () => {
  const workers = [
    { ...l4, pool: 'shared' },
    { ...cpu, pool: 'shared', noise: 1e-6 },
  ];
  const gateway = await startGateway({ models, workers });
  const worker = await gateway.open('gpu-0');
  let others = 0;
  worker.gate = async ({ path }) => {
    // The second look: half of the work went elsewhere, and somebody else has asked as much of the worker itself.
    if (path !== '/metrics' || gateway.served.length < 24) return;
    for (; others < 12; others += 1)
      await fetch(`${worker.url}/v1/encode/${model}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ items: [{ text: 'hello' }] }),
      });
  };
  const { error } = await smokeAgainst({}, { gpu: 'l4', url: gateway.url, workers: [worker.url] });
  await gateway.close();
  expect(others).toBe(12);
  expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('2 different answers') });
});

it('one worker of two of the profile may have done nothing', async () => {
  const workers = [l4, { ...l4, name: 'gpu-1' }];
  const { counters } = await ask({
    switches: { workers },
    open: ['gpu-0', 'gpu-1'],
    workers: ([first = '']) => [first],
  });
  expect(counters).toMatchObject({ moved: 2 });
  const all = await ask({ switches: { workers }, open: ['gpu-0', 'gpu-1'] });
  expect(all.counters).toMatchObject({ seen: 'moved', moved: 4 });
});

it('says that no counters can be seen where the release shows none, or the worker cannot be reached', async () => {
  const newer = await ask({ switches: { dialect: '0.10' }, open: ['gpu-0'] });
  expect(newer.counters).toMatchObject({ seen: 'not seen' });
  expect(newer.report?.summary.join('\n')).toContain('own counters: not seen: ');
  const workers = [{ ...l4, url: 'http://127.0.0.1:9' }];
  const away = await ask({ switches: { workers }, open: [], workers: () => ['listed'] });
  expect(away.counters).toMatchObject({ seen: 'not seen', text: containing('127.0.0.1:9') });
});

it('says when no worker was asked, and asks none by itself', async () => {
  const { counters, asked } = await ask({ open: ['gpu-0'], workers: () => [] });
  expect(counters).toMatchObject({ seen: 'not asked', text: containing('--worker') });
  expect(asked).toEqual([]);
});

it('the process that signed the answers is that of the worker, where releases sign', async () => {
  const switches = { dialect: '0.10' as const, namesInstances: true };
  expect(await ask({ switches, open: ['gpu-0'] })).toMatchObject({ counters: { seen: 'process' } });
  const other = await startGateway({ models, workers: [{ ...l4, name: 'gpu-9' }], standalone: true, dialect: '0.10' });
  const { error } = await ask({ switches, open: [], workers: () => [other.url] });
  await other.close();
  expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('none of') });
});

it('a process tells workers on the same hardware apart', async () => {
  const big = { ...l4, name: 'big-0', profile: 'a100-80gb', warm: [model] };
  const small = { ...l4, name: 'small-0', profile: 'a100-40gb', warm: [model] };
  const switches = { dialect: '0.10' as const, namesInstances: true, workers: [big, small] };
  const { proof } = await ask({ switches, open: ['big-0'], options: { gpu: 'a100-80gb' } });
  expect(proof).toMatchObject({ by: 'process' });
});

it('the token of the gateway is not sent to workers, and goes to a standalone one', async () => {
  const { asked, counters } = await ask({
    switches: { token: 'canary' },
    open: ['gpu-0'],
    env: { SIE_AUTH_TOKEN: 'canary' },
  });
  expect(counters).toMatchObject({ seen: 'moved' });
  expect(asked.join('\n')).not.toContain('canary');
  const alone = await smokeAgainst(
    { models, standalone: true, token: 'canary' },
    {},
    { env: { SIE_AUTH_TOKEN: 'canary' } },
  );
  expect(alone.report?.items[0]?.detail?.['counters']).toMatchObject({ seen: 'moved' });
});

it('a worker that was given and does not answer fails', async () => {
  const { error } = await ask({ open: [], workers: () => ['http://127.0.0.1:9'] });
  expect(error).toMatchObject({ code: 'E_NETWORK', exit: 5 });
});

it.each(['gpu-0:8080', 'http://user:secret@gpu-0:8080'])('no address of a worker: %s', async (url) => {
  const { error } = await ask({ open: [], workers: () => [url] });
  expect(error).toMatchObject({ code: 'E_USAGE' });
  expect(`${error?.message}${error?.hint}`).not.toContain('secret');
});

it('a model that is loading for ever is followed to its worker, which says why', async () => {
  const broken = { [model]: { dim: 8, neverLoads: true, errorClass: 'GATED' as const } };
  const { error } = await ask({ switches: { models: broken }, open: ['gpu-0'], options: { timeout: 600 } });
  expect(error).toMatchObject({ code: 'E_SMOKE', message: containing('GATED') });
});
