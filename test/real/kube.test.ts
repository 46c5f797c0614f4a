import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import * as z from '../../src/core/zod.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { kubeconfigAccess } from '../../src/kube/config.ts';
import { readYaml } from '../../src/manifest/yaml.ts';
import { projectRoot } from '../support/cli.ts';
import { testContext } from '../support/context.ts';
import { clusterCases } from '../support/doctor-cluster-cases.ts';
import { pod, pullSecret } from '../support/kube.ts';
import { firstCause, SickZone } from '../support/sick-zone.ts';
import { hasKubePrograms } from './kube-programs.ts';
import { type KubeObject, kubeTokens, RealKube } from './kube-server.ts';

/**
 * The faults of docs/doctor.md that lie in pods, events and secrets, seen through a real API server by a user with the
 * rights that the page names. Logs and the answers of workers need nodes, which there are none of.
 */

const needNodes = /^(?:worker|load)-|^(?:hub-asked|cache-poisoned|kube-unreachable|kube-config)$/;
const cases = clusterCases.filter(({ fault }) => !needNodes.test(fault));
const isThere = await hasKubePrograms();
if (!isThere)
  console.log(
    'kube-apiserver and etcd are not in .real/bin: skipped. npx tsx test/real/kube-tools.main.ts builds them',
  );

describe.skipIf(!isThere)('a real kube-apiserver', () => {
  let kube: RealKube;
  let directory: string;
  let page: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'real-kube-'));
    kube = await RealKube.start(directory);
    page = await readFile(join(projectRoot, 'docs/doctor.md'), 'utf8');
  });

  afterAll(async () => {
    await kube.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it.each(cases.map((each) => [each.fault, each.when, each] as const))(
    'shows %s when %s',
    async (fault, _, { look }) => {
      await using zone = await SickZone.start();
      let namespace = '';
      zone.startKube = async (options) => {
        const filled = await kube.makeNamespace(options);
        ({ namespace } = filled);
        return filled;
      };
      const report = await look(zone);
      expect(report.facts).toEqual({ cause: fault });
      expect(page).toContain(firstCause(report, zone).replaceAll(namespace, 'sie'));
    },
  );

  it('lets a user with the role view see all but secrets, and a user without any nothing', async () => {
    await using zone = await SickZone.start();
    const options = { pods: [pod()], secrets: [pullSecret('registry.zone')] };
    zone.startKube = async () => kube.makeNamespace(options, kubeTokens.viewer);
    const seen = await zone.doctor({ kubeconfig: await zone.cluster({}) });
    const unseen = seen.items.filter(({ detail }) => detail?.['verdict'] === 'not seen').map(({ name }) => name);
    expect(unseen).toEqual(expect.arrayContaining(['Helm releases', 'secret regcred']));
    expect(seen.summary.join('\n')).toContain('1 pod');

    zone.startKube = async () => kube.makeNamespace(options, kubeTokens.nobody);
    const nothing = await zone.doctor({ kubeconfig: await zone.cluster({}) });
    expect(nothing.ok).toBe(true);
    expect(nothing.summary.join('\n')).toContain('create rolebinding');
  });

  it.each(['smoke-job.yaml', 'smoke-helm-test.yaml', 'doctor-job.yaml', 'doctor-daemonset.yaml'])(
    'takes manifests/kubernetes/%s, and knows each of its fields',
    async (name) => {
      const { namespace } = await kube.makeNamespace({});
      const text = await readFile(join(projectRoot, 'manifests/kubernetes', name), 'utf8');
      for (const each of parseAllDocuments(text.replaceAll('{{ .Release.Name }}', 'sie')))
        await expect(kube.apply(namespace, each.toJS() as KubeObject)).resolves.toBeUndefined();
    },
  );

  it('gives a long list page by page', async () => {
    const filled = await kube.makeNamespace({});
    await kube.putConfigMaps(filled.namespace, 501);
    const { context } = await testContext({ cwd: directory });
    const access = await kubeconfigAccess(
      readYaml(filled.kubeconfig(), 'kubeconfig'),
      join(directory, 'kubeconfig'),
      undefined,
      {},
    );
    const client = new KubeClient(context.http, access);
    const schema = z.looseObject({ items: z.array(z.unknown()) });
    const { items } = await client.list(`/api/v1/namespaces/${filled.namespace}/configmaps`, schema);
    expect(items).toHaveLength(501);
    await context.close();
  });
});
