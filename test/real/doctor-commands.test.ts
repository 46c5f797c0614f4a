import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { projectRoot } from '../support/cli.ts';
import { type Call, callsOf, commandsOf } from '../support/fix-commands.ts';
import { type CommandResult, runCommand, tryCommand } from './command.ts';
import { runsHelm } from './kubernetes-programs.ts';
import { installTools, type VersionedTool } from './tools.ts';

/**
 * The commands of docs/doctor.md, as kubectl and Helm take them without a cluster: what they can do by themselves is done, and of the
 * rest they understand all, up to the server that is not there.
 */

const workload = `apiVersion: apps/v1
kind: StatefulSet
metadata: { name: sie-worker, namespace: sie }
spec:
  serviceName: sie-worker
  selector: { matchLabels: { app: sie } }
  template:
    metadata: { labels: { app: sie } }
    spec: { containers: [{ name: worker, image: "registry.zone/sie/sie-server:v0.3.4", args: [serve] }] }
`;
const kubeconfig =
  'apiVersion: v1\nkind: Config\ncurrent-context: z\nclusters: [{name: z, cluster: {server: "http://127.0.0.1:9"}}]\ncontexts: [{name: z, context: {cluster: z, user: z}}]\nusers: [{name: z, user: {}}]\n';
/** What whoever reads the page puts in. */
const known: Record<string, string> = {
  RELEASE: 'sie',
  NAMESPACE: 'sie',
  CHART: './sie-cluster-0.3.4.tgz',
  WORKLOAD: 'statefulset/sie-worker',
};

interface Workload {
  spec: {
    template: {
      spec: {
        containers: [{ image: string; args: string[]; env?: { name: string; value: string }[] }];
        volumes?: { name: string }[];
      };
    };
  };
}

/** How a command ends that was understood, and found no server. */
const atTheServer = /connection refused|was refused|unreachable|no objects passed to apply/;

describe.skipIf(!runsHelm).each([0, 1])('release %i of kubectl and Helm', (release) => {
  let place: string;
  let calls: Call[];
  let helm: VersionedTool;
  let kubectl: string;

  const run = (program: string, [, ...words]: Call): Promise<CommandResult> =>
    tryCommand(program, words, { cwd: place, env: { KUBECONFIG: join(place, 'kubeconfig') }, timeoutMs: 60_000 });
  const of = (program: string): Call[] => calls.filter(([name]) => name === program);

  beforeAll(async () => {
    const { helms } = await installTools();
    helm = helms[release] as VersionedTool;
    kubectl = join(dirname(helm.path), 'kubectl');
    place = await mkdtemp(join(tmpdir(), 'doctor-commands-'));
    await writeFile(join(place, 'kubeconfig'), kubeconfig);
    await writeFile(join(place, 'workload.yaml'), workload);
    await writeFile(join(place, 'CA_FILE'), 'authority\n');
    // The shell finds no file of this name, and hands the pattern on.
    await mkdir(join(place, 'deploy/sie'), { recursive: true });
    await writeFile(join(place, 'deploy/sie/values-*.yaml'), 'workers: {}\n');
    await mkdir(join(place, 'sie-cluster/templates'), { recursive: true });
    await writeFile(join(place, 'sie-cluster/Chart.yaml'), 'apiVersion: v2\nname: sie-cluster\nversion: 0.3.4\n');
    await runCommand(helm.path, ['package', 'sie-cluster'], { cwd: place });
    const page = await readFile(join(projectRoot, 'docs/doctor.md'), 'utf8');
    const named = (word: string): string => known[word] ?? word;
    calls = (await callsOf(commandsOf(page))).flat().map((call) => call.map(named));
  }, 600_000);

  afterAll(async () => rm(place, { recursive: true, force: true }));

  it('changes the workload as the fix says', async () => {
    const isLocal = (call: Call): boolean =>
      call.includes('statefulset/sie-worker') && !call.some((word) => word.startsWith('--from='));
    const changes = of('kubectl').filter(isLocal);
    expect(changes.length).toBeGreaterThan(7);
    for (const call of changes) {
      const local = call.flatMap((word) =>
        word === 'statefulset/sie-worker' ? ['--local', '-f', 'workload.yaml', '-o', 'yaml'] : [word],
      );
      const { code, stdout, stderr } = await run(kubectl, local);
      expect({ code, stderr }, call.join(' ')).toMatchObject({ code: 0 });
      const { containers, volumes = [] } = (parse(stdout) as Workload).spec.template.spec;
      const [{ image, args, env = [] }] = containers;
      const seen = [
        ...env.map(({ name, value }) => `${name}=${value}`),
        ...volumes.map(({ name }) => name),
        ...args.slice(1),
        `worker=${image}`,
      ].join('\n');
      const wanted = call.includes('patch')
        ? [/zone-ca|--cluster-cache=\$\(SIE_CLUSTER_CACHE\)/.exec(call.at(-1) ?? '')?.[0] ?? 'nothing']
        : call.filter((word) => /^\w+=/.test(word));
      expect(wanted.length, call.join(' ')).toBeGreaterThan(0);
      for (const part of wanted) expect(seen).toContain(part);
    }
  });

  it('makes secrets and maps for the namespace', async () => {
    const made = of('kubectl').filter((call) => call.includes('--dry-run=client'));
    expect(made.length).toBeGreaterThan(2);
    for (const call of made)
      expect(parse((await run(kubectl, call)).stdout), call.join(' ')).toMatchObject({
        metadata: { namespace: 'sie' },
      });
  });

  it('understands the others, up to the server', async () => {
    const others = [...new Map(calls.map((call) => [call.join(' '), call])).values()].filter(
      ([program, ...words]) => program === 'helm' || (program === 'kubectl' && !words.includes('--dry-run=client')),
    );
    expect(others.length).toBeGreaterThan(20);
    for (const call of others) {
      const { code, stderr } = await run(call[0] === 'helm' ? helm.path : kubectl, call);
      // What is in a kubeconfig is told without the cluster.
      const wanted = call[1] === 'config' && code === 0 ? /^$/ : atTheServer;
      expect(stderr, call.join(' ')).toMatch(wanted);
    }
  });
});
