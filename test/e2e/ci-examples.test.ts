import { spawnSync } from 'node:child_process';
import { copyFile, cp, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { projectRoot, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { modelId, startWorld } from '../support/world.ts';

/** The examples of manifests/ci, run as their runners run them: the very steps out of the files. */

interface GithubWorkflow {
  on: { workflow_dispatch: { inputs: object } };
  jobs: Record<
    string,
    {
      env: Record<string, string>;
      defaults: { run: { shell: string } };
      steps: { run?: string; uses?: string; if?: string; with?: { path: string } }[];
    }
  >;
}
interface GitlabJob {
  before_script: string[];
  script: string[];
  artifacts: { when: string; reports: { junit: string }; paths: string[] };
}

/** What is left of a pipeline: whether it was green, and what it says. */
interface Outcome {
  ok: boolean;
  output: string;
}

interface Pipeline {
  /** Whose files are kept, also when it fails. */
  artifacts: string[];
  run(directory: string, env: Record<string, string>): Outcome;
}

const read = async (name: string): Promise<unknown> =>
  parse(await readFile(join(projectRoot, 'manifests/ci', name), 'utf8'));

function bash(script: string, directory: string, env: Record<string, string>): Outcome {
  // As both runners start it: https://docs.github.com/actions/reference/workflow-syntax-for-github-actions#exit-codes-and-error-action-preference
  const flags = ['--noprofile', '--norc', '-eo', 'pipefail', '-c', script];
  const { status, stdout, stderr } = spawnSync('bash', flags, { cwd: directory, env, encoding: 'utf8' });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}

async function github(): Promise<Pipeline> {
  const [job] = Object.values(((await read('github-actions.yaml')) as GithubWorkflow).jobs);
  if (!job) throw new Error('no job');
  const upload = job.steps.find(({ uses }) => uses?.startsWith('actions/upload-artifact'));
  expect([job.defaults.run.shell, upload?.if]).toEqual(['bash', 'always()']);
  return {
    artifacts: (upload?.with?.path ?? '').trim().split('\n'),
    run: (directory, env) => {
      const given = { ...env, RUNNER_TEMP: join(directory, 'temp') };
      const ofJob = Object.entries(job.env).map(([name, value]) => [
        name,
        value.replace('${{ inputs.bundle }}', env['BUNDLE'] ?? ''),
      ]);
      let output = '';
      for (const { run } of job.steps) {
        if (run === undefined) continue;
        const step = bash(run, directory, { ...given, ...Object.fromEntries(ofJob) });
        output += step.output;
        if (!step.ok) return { ok: false, output };
      }
      return { ok: true, output };
    },
  };
}

async function gitlab(): Promise<Pipeline> {
  const file = (await read('gitlab-ci.yaml')) as Record<string, unknown>;
  const { PUBLIC_KEY } = file['variables'] as { PUBLIC_KEY: string };
  const { before_script: before, script, artifacts } = file['verify bundle'] as GitlabJob;
  expect(artifacts.when).toBe('always');
  expect(artifacts.paths).toContain(artifacts.reports.junit);
  return {
    artifacts: artifacts.paths,
    run: (directory, env) => bash([...before, ...script].join('\n'), directory, { PUBLIC_KEY, ...env }),
  };
}

let place: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeAll(async () => {
  place = await temporaryDirectory();
  const world = await startWorld({ weightsBytes: 1024 });
  const cli = async (args: string[]): Promise<void> =>
    expect(await runCli(args, { cwd: place.path, env: world.online })).toMatchObject({ code: 0 });
  await cli(['snapshot', modelId, '--store', 'store']);
  await cli(['keygen', '--out', 'keys']);
  await cli(['keygen', '--out', 'stranger']);
  await cli(['bundle', '--store', 'store', '--out', 'usb', '--name', 'b', '--sign', 'keys/sie-mirror.key.pem']);
  await world.close();
});

afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

let runs = 0;

/** A checkout of the repository that holds the key, and a bundle, changed as a test wants it. */
async function pipelineRun(
  pipeline: Pipeline,
  change: (bundle: string, checkout: string) => Promise<void>,
): Promise<Outcome & { artifacts: string[]; verdict: string }> {
  runs += 1;
  const checkout = join(place.path, `run-${runs}`);
  const bundle = join(place.path, `media ${runs}/b`);
  await mkdir(join(checkout, 'temp'), { recursive: true });
  await mkdir(join(checkout, 'keys'));
  await copyFile(join(place.path, 'keys/sie-mirror.pub.pem'), join(checkout, 'keys/sie-mirror.pub.pem'));
  await cp(join(place.path, 'usb/b'), bundle, { recursive: true });
  await change(bundle, checkout);
  const PATH = `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
  const outcome = pipeline.run(checkout, { BUNDLE: bundle, PATH, HOME: checkout, TMPDIR: join(checkout, 'temp') });
  const there = await readdir(checkout);
  const artifacts = pipeline.artifacts.filter((name) => there.includes(name));
  const verdict = await readFile(join(checkout, 'verdict.json'), 'utf8').catch(() => '{}');
  return { ...outcome, artifacts, verdict: String((JSON.parse(verdict) as { verdict?: string }).verdict) };
}

describe.each([
  ['GitHub Actions', github],
  ['GitLab CI', gitlab],
])('the example for %s', (_, open_) => {
  it('is green for a good bundle, and keeps the evidence', async () => {
    const pipeline = await open_();
    const { ok, output, artifacts, verdict } = await pipelineRun(pipeline, async () => {});
    expect([ok, verdict], output).toEqual([true, 'GOOD']);
    expect(artifacts).toEqual(['junit.xml', 'evidence.html', 'verdict.json']);
  });

  it('is red for a damaged bundle, and keeps the evidence of that', async () => {
    const { ok, artifacts, verdict } = await pipelineRun(await open_(), async (bundle) => {
      const volume = await open(join(bundle, 'b.0001.tar'), 'r+');
      await volume.write(Buffer.from('!'), 0, 1, 700);
      await volume.close();
    });
    expect([ok, verdict]).toEqual([false, 'BAD']);
    expect(artifacts).toEqual(['junit.xml', 'evidence.html', 'verdict.json']);
  });

  it('is red for the key of somebody else', async () => {
    const { ok, artifacts } = await pipelineRun(await open_(), (__, checkout) =>
      copyFile(join(place.path, 'stranger/sie-mirror.pub.pem'), join(checkout, 'keys/sie-mirror.pub.pem')),
    );
    expect([ok, artifacts]).toEqual([false, []]);
  });

  it('runs nothing of a medium whose tool is another one', async () => {
    const { ok, output } = await pipelineRun(await open_(), (bundle) =>
      writeFile(join(bundle, 'sie-mirror.mjs'), 'console.log("evil ran")'),
    );
    expect(ok).toBe(false);
    expect(output).not.toContain('evil ran');
  });
});
