import { afterEach, describe, expect, it } from 'vitest';
import { smoke, type SmokeOptions } from '../../src/commands/smoke.ts';
import { MirrorError } from '../../src/core/errors.ts';
import { testContext } from '../support/context.ts';
import { type GatewayOptions, startGateway, type TestGateway } from '../support/sie.ts';

const model = 'BAAI/bge-m3';
const models = { [model]: { dim: 1024 } };
const gib = 2 ** 30;
const l4 = { name: 'gpu-0', profile: 'l4', memoryTotalBytes: 24 * gib, healthy: true, bundle: 'default' };
const cpu = { name: 'cpu-0', profile: 'cpu', memoryTotalBytes: 0, healthy: true, bundle: 'default' };

let gateway: TestGateway | undefined;

afterEach(async () => {
  await gateway?.close();
  gateway = undefined;
});

async function ask(
  switches: Partial<GatewayOptions>,
  options: Partial<SmokeOptions> = {},
  env: Record<string, string> = {},
): ReturnType<typeof smoke> {
  gateway = await startGateway({ models, ...switches });
  const { context } = await testContext({ cwd: '/', env });
  try {
    return await smoke({ url: gateway.url, model, timeout: 5, ...options }, context);
  } finally {
    await context.close();
  }
}

async function refused(
  switches: Partial<GatewayOptions>,
  options: Partial<SmokeOptions> = {},
  env: Record<string, string> = {},
): Promise<MirrorError> {
  const error: unknown = await ask(switches, options, env).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(MirrorError);
  return error as MirrorError;
}

describe.each(['0.3', '0.10'] as const)('gateway of SIE %s', (dialect) => {
  it('answers', async () => {
    expect(await ask({ dialect }, { gpu: 'l4', dim: 1024 })).toMatchObject({ ok: true });
  });
  it('is waited for while it provisions a worker', async () => {
    expect(await ask({ dialect, provisionFor: { requests: 1 } }, { gpu: 'l4' })).toMatchObject({ ok: true });
  });
  it('is waited for while the model loads', async () => {
    expect(await ask({ dialect, models: { [model]: { dim: 8, loadAfterMs: 500 } } })).toMatchObject({ ok: true });
  });
  it('is given up after the timeout, saying what it was waiting for', async () => {
    expect(await refused({ dialect, models: { [model]: { dim: 8, neverLoads: true } } }, { timeout: 1 })).toMatchObject(
      { code: 'E_SMOKE', message: expect.stringContaining('loading') as string },
    );
  });
  it('names the models there are when the wanted one is unknown', async () => {
    expect(await refused({ dialect }, { model: 'no/model' })).toMatchObject({
      code: 'E_NOT_FOUND',
      hint: expect.stringContaining(model) as string,
    });
  });
  it('is not asked for a model whose case is wrong: it would load for ever', async () => {
    expect(await refused({ dialect }, { model: 'baai/bge-m3' })).toMatchObject({
      code: 'E_NOT_FOUND',
      hint: `did you mean \`${model}\`?`,
    });
    expect(gateway?.server.count(/encode/)).toBe(0);
  });
  it('wants a token', async () => {
    expect(await refused({ dialect, token: 'secret' })).toMatchObject({
      code: 'E_AUTH',
      hint: expect.stringContaining('SIE_AUTH_TOKEN') as string,
    });
    await gateway?.close();
    expect(await ask({ dialect, token: 'secret' }, {}, { SIE_AUTH_TOKEN: 'secret' })).toMatchObject({ ok: true });
  });
});

describe('a vector that is none', () => {
  it.each(['wrongDim', 'zeros', 'nan', 'null', 'truncated', 'html'] as const)('%s', async (answer) => {
    expect(await refused({ answer }, { dim: 1024 })).toMatchObject({ code: 'E_SMOKE' });
  });
  it('in each number type', async () => {
    for (const dtype of ['<f2', '<f4', '<f8', '>f4', '|i1'] as const) {
      expect(
        await ask(
          {
            models: { [model]: { dim: 16, dtype, vector: () => Array.from({ length: 16 }, (_, index) => index + 1) } },
          },
          { dim: 16 },
        ),
      ).toMatchObject({ ok: true });
      await gateway?.close();
    }
    gateway = undefined;
  });
});

describe('the GPU that must have answered', () => {
  it('is named when it did', async () => {
    expect((await ask({ workers: [l4] }, { gpu: 'L4' })).summary[0]).toContain('l4');
  });
  it('a CPU worker that answered for it silently is no GPU', async () => {
    const error = await refused({ workers: [cpu], configuredProfiles: ['l4', 'cpu'] }, { gpu: 'l4' });
    expect(error).toMatchObject({ code: 'E_SMOKE', message: expect.stringContaining('cpu-0') as string });
    expect(gateway?.served[0]?.profile).toBe('cpu');
  });
  it('a dead worker is no GPU', async () => {
    expect(await refused({ workers: [{ ...l4, healthy: false }, cpu] }, { gpu: 'l4' })).toMatchObject({
      code: 'E_SMOKE',
    });
  });
  it('a worker of that profile without GPU memory is no GPU', async () => {
    expect(await refused({ workers: [{ ...l4, memoryTotalBytes: 0 }] }, { gpu: 'l4' })).toMatchObject({
      code: 'E_SMOKE',
    });
  });
  it('a profile that is not configured fails at once', async () => {
    expect(await refused({}, { gpu: 'h100', timeout: 600 })).toMatchObject({
      code: 'E_SMOKE',
      message: expect.stringContaining('l4') as string,
    });
  });
});

describe('a standalone worker', () => {
  it('answers, in msgpack by default', async () => {
    expect(await ask({ standalone: true })).toMatchObject({ ok: true });
  });
  it('cannot prove a GPU', async () => {
    expect(await refused({ standalone: true }, { gpu: 'l4' })).toMatchObject({ code: 'E_SMOKE' });
  });
  it('that cannot load the model is not waited for', async () => {
    const broken = { [model]: { dim: 8, neverLoads: true, errorClass: 'OOM' as const } };
    expect(await refused({ standalone: true, models: broken }, { timeout: 600 })).toMatchObject({
      code: 'E_SMOKE',
      message: expect.stringContaining('OOM') as string,
    });
  });
});

it('waits for a gateway that is still starting, and gives up at the timeout with exit code 5', async () => {
  const { context } = await testContext({ cwd: '/' });
  await expect(smoke({ url: 'http://127.0.0.1:9', model, timeout: 1 }, context)).rejects.toMatchObject({
    code: 'E_NETWORK',
  });
  await context.close();
});

it('is not fooled by a page that is no SIE', async () => {
  gateway = await startGateway({
    models,
    faults: () => ({
      kind: 'status',
      status: 200,
      headers: { 'content-type': 'text/html' },
      body: '<html>login</html>',
    }),
  });
  const { context } = await testContext({ cwd: '/' });
  await expect(smoke({ url: gateway.url, model, timeout: 5 }, context)).rejects.toMatchObject({ code: 'E_SMOKE' });
  await context.close();
});
