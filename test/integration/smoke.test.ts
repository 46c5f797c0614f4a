import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { smoke } from '../../src/commands/smoke.ts';
import { testContext } from '../support/context.ts';
import { receiptOf } from '../support/receipts.ts';
import { defaultVector } from '../support/sie-cluster.ts';
import {
  l4Worker as l4,
  scratch,
  smokeAgainst,
  smokeDefaults,
  smokeFails,
  smokeModel as model,
  smokePasses,
} from '../support/smoke.ts';

const containing = (text: string): string => expect.stringContaining(text) as string;

describe.each(['0.3', '0.10'] as const)('gateway of SIE %s', (dialect) => {
  it('answers', async () => {
    expect(await smokePasses({ dialect }, { gpu: 'l4', dim: 1024 })).toMatchObject({ ok: true });
  });
  it('answers JSON as well', async () => {
    const { report, gateway } = await smokeAgainst({ dialect }, { format: 'json', dim: 1024 });
    expect(report).toMatchObject({ ok: true });
    const posts = gateway.server.requests.filter(({ method }) => method === 'POST');
    expect(new Set(posts.map(({ headers }) => headers['content-type']))).toEqual(new Set(['application/json']));
  });
  it('is asked to keep the work, and only at its own address', async () => {
    const { gateway } = await smokeAgainst({ dialect });
    const posts = gateway.server.requests.filter(({ method }) => method === 'POST');
    expect(posts.length).toBeGreaterThanOrEqual(4);
    for (const { headers } of posts) expect(headers).toMatchObject({ 'x-sie-remote': 'forbid' });
  });
  it('is waited for while it provisions a worker, and the time is told', async () => {
    const report = await smokePasses({ dialect, provisionFor: { requests: 1 } }, { gpu: 'l4' });
    const times = report.items[0]?.detail?.['times'] as Record<string, number>;
    expect(times['coldStart']).toBeGreaterThan(0);
    expect(times['load']).toBe(0);
    expect(times).toMatchObject({ queue: 0.0002, inference: 0.0015 });
  });
  it('is waited for while the model loads, and the time is told', async () => {
    const report = await smokePasses({ dialect, models: { [model]: { dim: 64, loadAfterMs: 20 } } });
    const times = report.items[0]?.detail?.['times'] as Record<string, number>;
    expect(times['load']).toBeGreaterThan(0);
    expect(times['coldStart']).toBe(0);
  });
  it('says what it waits for', async () => {
    const { notes } = await smokeAgainst({ dialect, provisionFor: { requests: 1 } });
    expect(notes).toContainEqual(containing('waiting, no worker yet'));
  });
  it('names the models there are when the wanted one is unknown', async () => {
    expect(await smokeFails({ dialect }, { model: 'no/model' })).toMatchObject({
      code: 'E_NOT_FOUND',
      hint: containing(model),
    });
  });
  it.each(['baai/bge-m3', 'other/bge-m3'])('is not asked for `%s`: the nearest id is named', async (wrong) => {
    const { error, gateway } = await smokeAgainst({ dialect }, { model: wrong });
    expect(error).toMatchObject({ code: 'E_NOT_FOUND', hint: `did you mean \`${model}\`?` });
    expect(gateway.server.count(/encode/)).toBe(0);
  });
  it('wants a token', async () => {
    expect(await smokeFails({ dialect, token: 'secret' })).toMatchObject({
      code: 'E_AUTH',
      hint: containing('SIE_AUTH_TOKEN'),
    });
    const env = { SIE_AUTH_TOKEN: 'secret' };
    expect(await smokePasses({ dialect, token: 'secret' }, {}, { env })).toMatchObject({ ok: true });
  });
  it('scores', async () => {
    const models = { [model]: { dim: 8, outputs: ['score' as const] } };
    expect(await smokePasses({ dialect, models }, { kind: 'score' })).toMatchObject({ ok: true });
    expect(await smokePasses({ dialect, models }, { kind: 'score', format: 'json' })).toMatchObject({ ok: true });
    expect(await smokeFails({ dialect, models, answer: 'zeros' }, { kind: 'score' })).toMatchObject({
      code: 'E_SMOKE',
    });
  });
  it('extracts', async () => {
    const models = { [model]: { dim: 8, outputs: ['extract' as const] } };
    expect(await smokePasses({ dialect, models }, { kind: 'extract' })).toMatchObject({ ok: true });
    expect(await smokeFails({ dialect, models, answer: 'zeros' }, { kind: 'extract' })).toMatchObject({
      code: 'E_SMOKE',
    });
  });
  it.each([
    ['dense' as const, 'encode'],
    ['sparse' as const, 'encode'],
    ['multivector' as const, 'encode'],
    ['score' as const, 'score'],
    ['extract' as const, 'extract'],
  ])('asks a model that gives %s for that when nothing else is said', async (output, kind) => {
    const models = { [model]: { dim: 8, outputs: [output] } };
    const { report, gateway } = await smokeAgainst({ dialect, models });
    expect(report?.items[0]?.detail).toMatchObject({ output });
    expect(gateway.server.count(new RegExp(`POST /v1/${kind}/`))).toBeGreaterThan(1);
    // A gateway of 0.3 does not tell what a model gives: it takes some refusals to know.
    const refused = ['dense', 'sparse', 'multivector', 'score', 'extract'].indexOf(output);
    const answers = kind === 'encode' ? 4 : 2;
    expect(gateway.server.count(/POST/)).toBe((dialect === '0.3' ? refused + 1 : 1) + answers);
  });
  it('says of a model that refuses everything why it refused the first', async () => {
    const models = { [model]: { dim: 8, outputs: [] } };
    expect(await smokeFails({ dialect, models })).toMatchObject({ code: 'E_SMOKE' });
  });
  it('does not ask for another thing when what was asked for came out wrong', async () => {
    const models = { [model]: { dim: 8, outputs: ['dense' as const, 'sparse' as const] } };
    const { error, gateway } = await smokeAgainst({ dialect, models, answer: 'nan' });
    expect(error).toMatchObject({ code: 'E_SMOKE' });
    expect(gateway.server.count(/POST/)).toBe(5);
  });
});

describe('/v1/embeddings', () => {
  it('is asked of newer gateways and of workers', async () => {
    expect(await smokePasses({ dialect: '0.10' }, { kind: 'openai', dim: 1024 })).toMatchObject({ ok: true });
    expect(await smokePasses({ standalone: true }, { kind: 'openai' })).toMatchObject({ ok: true });
  });
  it('is not there on gateways of 0.3', async () => {
    expect(await smokeFails({ dialect: '0.3' }, { kind: 'openai' })).toMatchObject({
      code: 'E_NOT_FOUND',
      hint: containing('--openai'),
    });
  });
});

describe('a vector that is none', () => {
  it.each(['wrongDim', 'zeros', 'nan', 'null', 'truncated', 'html'] as const)('%s', async (answer) => {
    expect(await smokeFails({ answer }, { dim: 1024 })).toMatchObject({ code: 'E_SMOKE' });
    expect(await smokeFails({ answer }, { dim: 1024, format: 'json' })).toMatchObject({ code: 'E_SMOKE' });
  });
  it.each<[string, (text: string) => number[]]>([
    ['the same for every text', () => [1, 2, 3]],
    [
      'no closer for a similar text',
      (text) => (text.includes('mat') ? (text.includes('sits') ? [1, 0] : [-1, 0.1]) : [1, 0.1]),
    ],
    [
      'of length 1 for some texts only',
      (text) => defaultVector(model, text, 64).map((x) => (text.includes('rates') ? 3 * x : x)),
    ],
  ])('%s', async (_, vector) => {
    expect(await smokeFails({ models: { [model]: { dim: 3, vector } } })).toMatchObject({ code: 'E_SMOKE' });
  });
  it('another one each time', async () => {
    let count = 0;
    const vector = (text: string): number[] => defaultVector(model, `${text} ${++count} ${count} ${count}`, 64);
    expect(await smokeFails({ models: { [model]: { dim: 64, vector } } })).toMatchObject({ code: 'E_SMOKE' });
  });
  it.each(['<f2', '<f4', '<f8', '>f2', '>f4', '>f8', '<V2', '|i1', '|u1', 'binary'] as const)(
    'is not one of %s',
    async (dtype) => {
      const models = { [model]: { dim: 100, dtype } };
      expect(await smokePasses({ models }, { dim: 100 })).toMatchObject({ ok: true });
      expect(await smokePasses({ models }, { dim: 100, format: 'json' })).toMatchObject({ ok: true });
    },
  );
  it.each(['float16', 'int8', 'uint8', 'binary'])('is not one of %s that was asked for', async (dtype) => {
    const report = await smokePasses({}, { dtype, dim: 1024 });
    expect(report.items[0]?.detail).toMatchObject({ dtype, dims: 1024 });
  });
});

describe.each(['sparse', 'multivector'] as const)('a model of %s vectors', (output) => {
  const models = { [model]: { dim: 100, outputs: [output] } };
  it.each([{}, { format: 'json' as const }, { dtype: 'float16' }])('answers: %j', async (options) => {
    const report = await smokePasses({ models }, { dim: 100, ...options });
    expect(report.items[0]?.detail).toMatchObject({ output });
    expect(report.summary[0]).toContain(`${output} vectors`);
  });
  it('answers as a worker too', async () => {
    expect(await smokePasses({ models, standalone: true })).toMatchObject({ ok: true });
  });
  it.each(['zeros', 'nan', 'null', 'truncated'] as const)('fails for %s', async (answer) => {
    expect(await smokeFails({ models, answer })).toMatchObject({ code: 'E_SMOKE' });
    expect(await smokeFails({ models, answer }, { format: 'json' })).toMatchObject({ code: 'E_SMOKE' });
  });
  it('fails for other dimensions than those wanted', async () => {
    expect(await smokeFails({ models }, { dim: 99 })).toMatchObject({ code: 'E_SMOKE', message: containing('99') });
  });
  it('is told by its recorded vectors', async () => {
    const cwd = await scratch();
    await smokePasses({ models }, { record: 'golden.json' }, { cwd });
    const golden = { golden: 'golden.json' };
    expect((await smokePasses({ models }, golden, { cwd })).items[0]?.detail?.['golden']).toBeCloseTo(1);
    const vector = (text: string): number[] => defaultVector('other', text, 100);
    const other = { models: { [model]: { ...models[model], vector } } };
    expect(await smokeFails(other, golden, { cwd })).toMatchObject({
      code: 'E_SMOKE',
    });
  });
});

describe('a model that gives several forms', () => {
  const models = { [model]: { dim: 64, outputs: ['dense' as const, 'sparse' as const, 'multivector' as const] } };
  it.each(['dense', 'sparse', 'multivector'] as const)('is asked for %s with --output', async (output) => {
    expect((await smokePasses({ models }, { output })).items[0]?.detail).toMatchObject({ output });
  });
  it('is asked for dense vectors when nothing is said', async () => {
    expect((await smokePasses({ models })).items[0]?.detail).toMatchObject({ output: 'dense' });
  });
  it('is not asked for what it does not give', async () => {
    const { error, gateway } = await smokeAgainst({ dialect: '0.10' }, { output: 'sparse' });
    expect(error).toMatchObject({ code: 'E_SMOKE', hint: containing('dense') });
    expect(gateway.server.count(/encode/)).toBe(0);
  });
});

it('packed bits of tokens begin with a byte each', async () => {
  const models = { [model]: { dim: 100, outputs: ['multivector' as const] } };
  expect(await smokePasses({ models }, { dtype: 'binary', dim: 100 })).toMatchObject({ ok: true });
});

describe('a standalone worker', () => {
  it('answers, in msgpack by default', async () => {
    expect(await smokePasses({ standalone: true })).toMatchObject({ ok: true });
    expect(await smokePasses({ standalone: true }, { format: 'json' })).toMatchObject({ ok: true });
  });
  it('cannot prove a GPU', async () => {
    expect(await smokeFails({ standalone: true }, { gpu: 'l4' })).toMatchObject({ code: 'E_SMOKE' });
  });
  it('that cannot load the model is not waited for', async () => {
    const models = { [model]: { dim: 8, neverLoads: true, errorClass: 'OOM' as const } };
    expect(await smokeFails({ standalone: true, models }, { timeout: 600 })).toMatchObject({
      code: 'E_SMOKE',
      message: containing('OOM'),
    });
  });
});

it.each(['0.3', '0.10'] as const)('a gateway of %s never tells that a model does not load', async (dialect) => {
  const models = { [model]: { dim: 8, neverLoads: true, errorClass: 'GATED' as const } };
  expect(await smokeFails({ dialect, models }, { timeout: 20 })).toMatchObject({
    code: 'E_SMOKE',
    message: containing('`loaded` stayed false'),
    hint: containing('--worker'),
  });
});

describe('the commit that answers', () => {
  const revision = 'a'.repeat(40);
  const served = { dialect: '0.10' as const, models: { [model]: { dim: 64, revision } } };
  it('is the mirrored one', async () => {
    const report = await smokePasses(served, { revision });
    expect(report.facts).toMatchObject({ commit: revision, release: '0.10.1' });
  });
  it('is another one', async () => {
    expect(await smokeFails(served, { revision: 'b'.repeat(40) })).toMatchObject({
      code: 'E_SMOKE',
      message: containing(revision),
    });
  });
  it('is not told by older releases, which is said', async () => {
    const report = await smokePasses({ ...served, dialect: '0.3' }, { revision });
    expect(report.summary.join('\n')).toContain('does not tell');
  });
  it('comes from a receipt', async () => {
    const cwd = await scratch();
    await writeFile(join(cwd, 'r.json'), receiptOf({ [model]: 'c'.repeat(40) }));
    expect(await smokeFails(served, { receipt: 'r.json' }, { cwd })).toMatchObject({ code: 'E_SMOKE' });
    await writeFile(join(cwd, 'r.json'), receiptOf({ [model]: revision }));
    expect(await smokePasses(served, { receipt: 'r.json' }, { cwd })).toMatchObject({ ok: true });
    await writeFile(join(cwd, 'r.json'), receiptOf({ 'other/model': revision }));
    expect(await smokeFails(served, { receipt: 'r.json' }, { cwd })).toMatchObject({ code: 'E_NOT_FOUND' });
  });
  it('was served by this cluster and no other', async () => {
    expect(await smokeFails({ dialect: '0.10', servedBy: 'remote' })).toMatchObject({ code: 'E_SMOKE' });
  });
});

describe('recorded vectors', () => {
  it('agree with those of the same weights, in another number format too', async () => {
    const cwd = await scratch();
    await smokePasses({}, { record: 'golden.json' }, { cwd });
    for (const dtype of [undefined, 'float16', 'int8', 'uint8'] as const) {
      const report = await smokePasses({}, { golden: 'golden.json', dtype }, { cwd });
      expect(report.items[0]?.detail?.['golden']).toBeGreaterThan(0.99);
    }
    expect(await readFile(join(cwd, 'golden.json'), 'utf8')).toContain('sie-mirror/golden/v1');
  });
  it.each([
    [undefined, 'binary'],
    ['binary', undefined],
    ['uint8', 'binary'],
  ])('of %s agree with %s by their signs, and not with those of other weights', async (recorded, asked) => {
    const cwd = await scratch();
    await smokePasses({}, { record: 'golden.json', dtype: recorded }, { cwd });
    const options = { golden: 'golden.json', dtype: asked };
    expect((await smokePasses({}, options, { cwd })).items[0]?.detail?.['golden']).toBeGreaterThan(0.97);
    const vector = (text: string): number[] => {
      const foreign = defaultVector('other', text, 1024);
      return defaultVector(model, text, 1024).map((x, index) => x + 0.15 * (foreign[index] ?? 0));
    };
    expect(await smokeFails({ models: { [model]: { dim: 1024, vector } } }, options, { cwd })).toMatchObject({
      code: 'E_SMOKE',
    });
  });
  it('of another form say so, and blame no weights', async () => {
    const cwd = await scratch();
    const models = { [model]: { dim: 64, outputs: ['dense' as const, 'multivector' as const] } };
    await smokePasses({ models }, { record: 'golden.json' }, { cwd });
    const other = { golden: 'golden.json', output: 'multivector' as const };
    expect(await smokeFails({ models }, other, { cwd })).toMatchObject({
      code: 'E_SMOKE',
      hint: containing('--output dense'),
    });
    await smokePasses({ models }, { record: 'golden.json', output: 'multivector' }, { cwd });
    expect(await smokeFails({ models }, { ...other, dtype: 'binary' }, { cwd })).toMatchObject({
      code: 'E_SMOKE',
      hint: containing('--dtype float32'),
    });
  });
  it.each([
    ['of zeros', [0, 0]],
    ['too long to have a length', [1.7e308, 1.7e308]],
  ])('%s are no measure', async (_, vector) => {
    const cwd = await scratch();
    const models = [{ model, dtype: 'float32', vectors: [{ text: 'a', vector }] }];
    await writeFile(join(cwd, 'golden.json'), JSON.stringify({ schema: 'sie-mirror/golden/v1', models }));
    expect(await smokeFails({}, { golden: 'golden.json' }, { cwd })).toMatchObject({ code: 'E_CORRUPT' });
  });
  it.each([
    ['cut off', '{"schema":"sie-mirror/gol'],
    ['of something else', '{"schema":"sie-mirror/lock/v1"}'],
  ])('in a file that is %s have a next step', async (_, text) => {
    const cwd = await scratch();
    await writeFile(join(cwd, 'golden.json'), text);
    expect(await smokeFails({}, { golden: 'golden.json' }, { cwd })).toMatchObject({
      code: 'E_CORRUPT',
      hint: containing('--record'),
    });
    expect(await smokeFails({}, { golden: '.' }, { cwd })).toMatchObject({
      code: 'E_PATH',
      message: containing(cwd),
      hint: containing('--record'),
    });
  });
  it('do not agree with those of another revision', async () => {
    const cwd = await scratch();
    await smokePasses({}, { record: 'golden.json' }, { cwd });
    const vector = (text: string): number[] => {
      const foreign = defaultVector('other', text, 1024);
      return defaultVector(model, text, 1024).map((x, index) => x + 0.1 * (foreign[index] ?? 0));
    };
    const options = { golden: 'golden.json' };
    const other = { models: { [model]: { dim: 1024, vector } } };
    expect(await smokeFails(other, options, { cwd })).toMatchObject({ code: 'E_SMOKE', message: containing('cosine') });
    expect(await smokePasses(other, { ...options, tolerance: 0.05 }, { cwd })).toMatchObject({ ok: true });
  });
  it('are missed for a model that has none', async () => {
    const cwd = await scratch();
    await smokePasses({}, { record: 'golden.json' }, { cwd });
    const models = { 'other/model': { dim: 64 } };
    expect(await smokeFails({ models }, { model: 'other/model', golden: 'golden.json' }, { cwd })).toMatchObject({
      code: 'E_SMOKE',
    });
  });
});

it('waits for a gateway that is still starting, and gives up at the timeout with exit code 5', async () => {
  const { context } = await testContext({ cwd: '/' });
  await expect(
    smoke({ ...smokeDefaults, url: 'http://127.0.0.1:9', model, timeout: 1 }, context),
  ).rejects.toMatchObject({
    code: 'E_NETWORK',
  });
  await context.close();
});

it('says that a live worker gets no work when it sent no pool name', async () => {
  expect(await smokeFails({ workers: [{ ...l4, sendsNoPool: true }] }, { gpu: 'l4', timeout: 20 })).toMatchObject({
    code: 'E_SMOKE',
    hint: containing('SIE_POOL'),
  });
});
