import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import { renderJunit } from '../../src/cli/junit.ts';
import type { Report } from '../../src/core/report.ts';
import { receiptOf } from '../support/receipts.ts';
import { cpuWorker as cpu, l4Worker as l4, smokeAgainst, smokeFails } from '../support/smoke.ts';

const commit = 'a'.repeat(40);
const models = {
  'org/dense': { dim: 32, revision: commit },
  'org/reranker': { dim: 8, revision: commit, outputs: ['score' as const] },
  'org/entities': { dim: 8, revision: commit, outputs: ['extract' as const] },
};
let cwd = '';

beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'smoke-all-'));
  await writeFile(join(cwd, 'site.receipt.json'), mirrored(Object.keys(models)));
  await writeFile(join(cwd, 'more.receipt.json'), mirrored([...Object.keys(models), 'org/companion']));
  await writeFile(join(cwd, 'other.receipt.json'), mirrored(['org/other']));
});

it('asks every model of a receipt on every machine profile, by what each does', async () => {
  const workers = [l4, cpu];
  const { report, gateway } = await smokeAgainst(
    { dialect: '0.10', models, workers },
    { all: 'site.receipt.json', gpu: 'l4,cpu' },
    { cwd },
  );
  expect(report).toMatchObject({ ok: true, totals: { models: 6, failed: 0 } });
  expect(report?.items.map(({ name }) => name)).toEqual([
    'org/dense on cpu',
    'org/dense on l4',
    'org/entities on cpu',
    'org/entities on l4',
    'org/reranker on cpu',
    'org/reranker on l4',
  ]);
  for (const kind of ['encode', 'score', 'extract'])
    expect(gateway.server.count(new RegExp(`POST /v1/${kind}/`))).toBeGreaterThan(0);
  const table = report?.summary ?? [];
  expect(table[0]).toMatch(/^model +verdict/);
  expect(table.length).toBe(8);
});

it('goes on after one that fails, and names it in table and JUnit report', async () => {
  const broken = { ...models, 'org/dense': { dim: 32, revision: 'b'.repeat(40) } };
  const { report } = await smokeAgainst(
    { dialect: '0.10', models: broken },
    { all: 'site.receipt.json', gpu: 'l4' },
    { cwd },
  );
  expect(report).toMatchObject({ ok: false, exit: 3, totals: { models: 3, failed: 1 } });
  expect(report?.summary.find((line) => line.startsWith('org/dense'))).toContain('BAD');
  const junit = renderJunit(report as Report);
  expect(junit).toContain('tests="3" failures="1"');
  expect(junit).toMatch(/testcase classname="smoke\.model" name="org\/dense on l4"><failure type="E_SMOKE"/);
});

it('asks for what was mirrored by the ids that the cluster serves', async () => {
  const served = {
    'nvidia/NV-Embed-v2': { dim: 16 },
    'org/varied:dense': { dim: 16 },
    'org/varied:sparse': { dim: 16, outputs: ['sparse' as const] },
    'org/both': { dim: 16 },
    'org/both:sparse': { dim: 16 },
    'zone/named': { dim: 16, aliases: ['org/alias'] },
    'Org/Case': { dim: 16 },
  };
  const repos = ['Hyukkyu/nv-embed-v2', 'org/varied', 'org/both', 'org/alias', 'org/case', 'org/companion'];
  await writeFile(join(cwd, 'ids.receipt.json'), mirrored(repos));
  const { report } = await smokeAgainst({ dialect: '0.10', models: served }, { all: 'ids.receipt.json' }, { cwd });
  expect(report?.items.map(({ name, state, detail, error }) => [name, state, detail?.['repo'] ?? error?.code])).toEqual(
    [
      ['nvidia/NV-Embed-v2', 'done', 'Hyukkyu/nv-embed-v2'],
      ['org/both', 'done', 'org/both'],
      ['org/case', 'failed', 'E_NOT_FOUND'],
      ['org/varied:dense', 'done', 'org/varied'],
      ['org/varied:sparse', 'done', 'org/varied'],
      ['zone/named', 'done', 'org/alias'],
      ['org/companion', 'skipped', undefined],
    ],
  );
  expect(report).toMatchObject({ ok: false, totals: { models: 6, failed: 1 } });
  expect(report?.items[2]?.error?.message).toContain('Org/Case');
  const line = report?.summary.find((each) => each.startsWith('nvidia/NV-Embed-v2'));
  expect(line).toMatch(/ good +dense 16, weights of Hyukkyu\/nv-embed-v2 .* not asked$/);
});

it('holds a model to the commit of the repo of its weights, whatever its id', async () => {
  await writeFile(join(cwd, 'nv.receipt.json'), mirrored(['Hyukkyu/nv-embed-v2']));
  const options = { model: 'nvidia/NV-Embed-v2', receipt: 'nv.receipt.json' };
  const serving = (revision: string) =>
    smokeAgainst({ dialect: '0.10', models: { 'nvidia/NV-Embed-v2': { dim: 16, revision } } }, options, { cwd });
  expect((await serving(commit)).report).toMatchObject({ ok: true, facts: { commit } });
  expect((await serving('b'.repeat(40))).error).toMatchObject({ code: 'E_SMOKE' });
  const other = { model: 'nvidia/NV-Embed-v2', receipt: 'site.receipt.json' };
  expect(await smokeFails({ models: { 'nvidia/NV-Embed-v2': { dim: 16 } } }, other, { cwd })).toMatchObject({
    code: 'E_NOT_FOUND',
    message: expect.stringContaining('Hyukkyu/nv-embed-v2') as string,
  });
});

it.each([1, 3])('asks %i models at a time, no more and no fewer', async (concurrency) => {
  const names = Array.from({ length: 7 }, (_, index) => `org/model-${index}`);
  await writeFile(join(cwd, 'many.receipt.json'), mirrored(names));
  const many = Object.fromEntries(names.map((name) => [name, { dim: 8 }]));
  let running = 0;
  let most = 0;
  let whole = (): void => {};
  // The first wave is held back until so many are there, with fewer at a time for ever, and a little longer for one too many.
  const wave = new Promise<void>((resolve) => {
    whole = resolve;
  }).then(() => sleep(50));
  const { report } = await smokeAgainst(
    { dialect: '0.10', models: many },
    { all: 'many.receipt.json' },
    {
      cwd,
      concurrency,
      during: ({ server }) => {
        server.gate = async ({ method }) => {
          if (method !== 'POST') return;
          running += 1;
          most = Math.max(most, running);
          if (running === concurrency) whole();
          await wave;
          running -= 1;
        };
      },
    },
  );
  expect(report).toMatchObject({ ok: true, totals: { models: 7 } });
  expect(most).toBe(concurrency);
});

it('says of companions that they are no models of the cluster', async () => {
  const { report } = await smokeAgainst({ dialect: '0.10', models }, { all: 'more.receipt.json' }, { cwd });
  expect(report?.items.find(({ name }) => name === 'org/companion')).toMatchObject({ state: 'skipped' });
  expect(report).toMatchObject({ ok: true, totals: { models: 3 } });
});

it('fails when the cluster knows none of them', async () => {
  expect(await smokeFails({ models }, { all: 'other.receipt.json' }, { cwd })).toMatchObject({ code: 'E_NOT_FOUND' });
});

it('records the vectors of all that give some, and compares with them', async () => {
  await smokeAgainst({ models }, { all: 'site.receipt.json', record: 'golden.json' }, { cwd });
  const golden = JSON.parse(await readFile(join(cwd, 'golden.json'), 'utf8')) as { models: { model: string }[] };
  expect(golden.models.map(({ model }) => model)).toEqual(['org/dense']);
  const { report } = await smokeAgainst({ models }, { all: 'site.receipt.json', golden: 'golden.json' }, { cwd });
  expect(report).toMatchObject({ ok: true });
});

it('says of each model whether it was compared with recorded vectors', async () => {
  await smokeAgainst({ models }, { all: 'site.receipt.json', record: 'golden.json' }, { cwd });
  const { report } = await smokeAgainst({ models }, { all: 'site.receipt.json', golden: 'golden.json' }, { cwd });
  expect(report?.summary.slice(0, 4).map((line) => line.split(/ {2,}/).at(-1))).toEqual([
    'recorded',
    'cosine 1.00000',
    'not compared',
    'not compared',
  ]);
});

it('does not pass when there was nothing to compare with the recorded vectors', async () => {
  await smokeAgainst({ models }, { all: 'site.receipt.json', record: 'golden.json' }, { cwd });
  await writeFile(join(cwd, 'scores.receipt.json'), mirrored(['org/reranker']));
  const served = { dialect: '0.10' as const, models };
  const all = await smokeAgainst(served, { all: 'scores.receipt.json', golden: 'golden.json' }, { cwd });
  expect(all.report).toMatchObject({ ok: false, items: [{ state: 'done' }, { kind: 'golden', state: 'failed' }] });
  const one = { model: 'org/reranker', golden: 'golden.json' };
  expect(await smokeFails(served, one, { cwd })).toMatchObject({ code: 'E_SMOKE' });
  const { report } = await smokeAgainst({ ...served, workers: [l4, cpu] }, { ...one, gpu: 'l4,cpu' }, { cwd });
  expect(report).toMatchObject({ ok: false, totals: { failed: 2 } });
});

it('says why each model failed, though there is nothing to record then', async () => {
  await rm(join(cwd, 'golden.json'), { force: true });
  const options = { all: 'site.receipt.json', record: 'golden.json' };
  const { report } = await smokeAgainst({ models, answer: 'zeros' }, options, { cwd });
  expect(report?.items.map(({ kind, state, error }) => [kind, state, error?.code])).toEqual([
    ...Object.keys(models).map(() => ['model', 'failed', 'E_SMOKE']),
    ['record', 'failed', 'E_SMOKE'],
  ]);
  expect(report).toMatchObject({ ok: false, totals: { models: 3, failed: 3 } });
  await expect(readFile(join(cwd, 'golden.json'))).rejects.toMatchObject({ code: 'ENOENT' });
});

it.each([
  ['l4,cpu', 0],
  ['cpu,l4', 0.001],
])('records of %s what the first machine profile gave, whichever ends last', async (gpu, noise) => {
  const workers = [l4, { ...cpu, noise: 0.001 }];
  const recorded = async (profiles: string): Promise<number> => {
    const options = { model: 'org/dense', gpu: profiles, record: 'golden.json' };
    const { report } = await smokeAgainst({ dialect: '0.10', models, workers }, options, { cwd, concurrency: 1 });
    expect(report).toMatchObject({ ok: true });
    const golden = JSON.parse(await readFile(join(cwd, 'golden.json'), 'utf8')) as {
      models: { vectors: { vector: number[] }[] }[];
    };
    return golden.models[0]?.vectors[0]?.vector[0] ?? Number.NaN;
  };
  expect((await recorded(gpu)) - (await recorded('l4'))).toBeCloseTo(noise, 5);
});

it.each([
  [{ all: 'site.receipt.json', model: 'org/dense' }],
  [{ all: 'site.receipt.json', revision: commit }],
  [{ model: undefined }],
])('is refused with what makes no sense beside it: %j', async (options) => {
  expect(await smokeFails({ models }, options, { cwd })).toMatchObject({ code: 'E_USAGE' });
});

/** The text of a receipt of these repos. */
function mirrored(repos: readonly string[]): string {
  return receiptOf(Object.fromEntries(repos.map((repo) => [repo, commit])));
}
