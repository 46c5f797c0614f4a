import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Lock } from '../../src/manifest/schema.ts';
import { runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { type GatewayOptions, startGateway, type TestGateway } from '../support/sie.ts';

const commit = 'a'.repeat(40);
const models = { 'org/one': { dim: 16, revision: commit }, 'org/two': { dim: 16, revision: commit } };
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let gateway: TestGateway;

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(async () => {
  await gateway.close();
  await place[Symbol.asyncDispose]();
});

async function start(options: Partial<GatewayOptions>): Promise<void> {
  gateway = await startGateway({ models, dialect: '0.10', ...options });
}

function lockOf(commits: Record<string, string>): string {
  const lock: Lock = {
    schema: 'sie-mirror/lock/v1',
    name: 'site',
    models: Object.entries(commits).map(([repo, each]) => ({
      type: 'model',
      repo,
      revision: 'main',
      canonical: repo,
      commit: each,
      gated: false,
      files: [],
    })),
    images: [],
    files: [],
  };
  return JSON.stringify(lock);
}

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('removes the pool that it made when it is stopped by %s', async (signal, code) => {
  await start({ models: { 'org/one': { dim: 16, neverLoads: true } }, dialect: '0.3' });
  const args = ['smoke', gateway.url, '--model', 'org/one', '--gpu', 'proof/l4', '--create-pool'];
  let asked = 0;
  const stopped = await runCli(args, {
    cwd: place.path,
    onError: (text, kill) => {
      if (text.includes('waiting') && asked++ === 0) kill(signal);
    },
  });
  expect(stopped.code, stopped.stderr).toBe(code);
  expect(stopped.stderr).toContain('removed the pool `proof`');
  expect(gateway.server.count(/POST \/v1\/pools$/)).toBe(1);
  expect(gateway.pools()).toEqual([]);
});

it('asks for every model of a lock, and says the same to people and to CI', async () => {
  await start({});
  await writeFile(join(place.path, 'site.lock'), lockOf({ 'org/one': commit, 'org/two': 'b'.repeat(40) }));
  const args = ['smoke', gateway.url, '--all', 'site.lock', '--gpu', 'l4', '--junit', 'smoke.xml'];
  const told = await runCli(args, { cwd: place.path });
  expect(told.code, told.stderr).toBe(3);
  expect(told.stdout).toMatch(/^org\/one on l4 +good/m);
  expect(told.stdout).toMatch(/^org\/two on l4 +BAD/m);
  expect(await readFile(join(place.path, 'smoke.xml'), 'utf8')).toContain('tests="2" failures="1"');
});

it('wants the commit of a lock', async () => {
  await start({});
  await writeFile(join(place.path, 'right.lock'), lockOf({ 'org/one': commit }));
  await writeFile(join(place.path, 'wrong.lock'), lockOf({ 'org/one': 'b'.repeat(40) }));
  const asked = (lock: string): string[] => ['smoke', gateway.url, '--model', 'org/one', '--lock', lock, '--json'];
  const right = await runCli(asked('right.lock'), { cwd: place.path });
  expect(JSON.parse(right.stdout)).toMatchObject({ ok: true, facts: { commit } });
  const wrong = await runCli(asked('wrong.lock'), { cwd: place.path });
  expect(wrong.code).toBe(9);
  expect(JSON.parse(wrong.stdout)).toMatchObject({ ok: false, error: { code: 'E_SMOKE' } });
});

it('asks the workers that are named, or that the gateway lists, what they did', async () => {
  await start({ dialect: '0.3' });
  const worker = await gateway.open('worker-l4-0');
  const asked = ['smoke', gateway.url, '--model', 'org/one', '--gpu', 'l4', '--json', '--worker'];
  const unasked = await runCli(asked.slice(0, -1), { cwd: place.path });
  expect(unasked.stdout).toContain('"seen":"not asked"');
  for (const which of [worker.url, 'listed']) {
    const told = await runCli([...asked, which], { cwd: place.path });
    expect(told.code, told.stderr).toBe(0);
    expect(told.stdout).toContain('"counters":{"seen":"moved","moved":4');
  }
});

it.each([[[]], [['--gpu', 'l4']], [['--gpu', 'proof/l4', '--create-pool']]])(
  'is one and the same test in JUnit files, whether it passes or fails: %j',
  async (flags) => {
    await start({});
    const named = async (...more: string[]): Promise<string | undefined> => {
      const args = ['smoke', gateway.url, '--model', 'org/one', ...flags, '--junit', 'smoke.xml', ...more];
      await runCli(args, { cwd: place.path });
      const junit = await readFile(join(place.path, 'smoke.xml'), 'utf8');
      return `${/failures="\d"/.exec(junit)?.[0]} ${/<testcase [^>]*?(?=\/?>)/.exec(junit)?.[0]}`;
    };
    const passed = await named();
    expect(passed).toContain('failures="0" <testcase classname="smoke.model" name="org/one');
    expect(await named('--dim', '99')).toBe(passed?.replace('failures="0"', 'failures="1"'));
  },
);
