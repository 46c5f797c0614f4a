import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { renderJunit } from '../../src/cli/junit.ts';
import type { Report } from '../../src/core/report.ts';
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
  await writeFile(join(cwd, 'site.receipt.json'), receipt(Object.keys(models)));
  await writeFile(join(cwd, 'more.receipt.json'), receipt([...Object.keys(models), 'org/companion']));
  await writeFile(join(cwd, 'other.receipt.json'), receipt(['org/other']));
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

it.each([
  [{ all: 'site.receipt.json', model: 'org/dense' }],
  [{ all: 'site.receipt.json', revision: commit }],
  [{ model: undefined }],
])('is refused with what makes no sense beside it: %j', async (options) => {
  expect(await smokeFails({ models }, options, { cwd })).toMatchObject({ code: 'E_USAGE' });
});

function receipt(repos: string[]): string {
  return JSON.stringify({
    schema: 'sie-mirror/receipt/v1',
    tool: 'test',
    bundle: { name: 'b', inventory: `sha256:${'0'.repeat(64)}` },
    targets: {},
    complete: true,
    models: repos.map((repo) => ({ repo, commit, objects: [] })),
    images: [],
  });
}
