import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checkBucket } from '../../src/commands/doctor/bucket.ts';
import { Hosts } from '../../src/commands/doctor/hosts.ts';
import { spaceFinding } from '../../src/commands/doctor/tool.ts';
import { MirrorError } from '../../src/core/errors.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { buildImage, multiArch } from '../support/images.ts';
import { offlineEnv, pod, podEvent, pullSecret, startKube } from '../support/kube.ts';
import { startRegistry } from '../support/registry.ts';
import { commit, folder, model, models, SickZone } from '../support/sick-zone.ts';
import { startGateway } from '../support/sie.ts';
import { stubEnv } from '../support/stub-env.ts';

const worker = { name: 'sie-worker-0', profile: 'l4', memoryTotalBytes: 24e9, healthy: true, bundle: 'default' };

function verdicts(report: Report): string[] {
  return report.items.map(({ kind, name, detail }) => `${String(detail?.['verdict'])} ${kind} ${name}`);
}

function faultsOf(report: Report): unknown[] {
  return report.items.flatMap(({ detail }) => (detail?.['verdict'] === 'fault' ? [detail['fault']] : []));
}

/** Holds the lists of models back until two have been asked for. */
function afterBoth(): (request: { path: string }) => Promise<void> | undefined {
  const waiting: (() => void)[] = [];
  return ({ path }) => {
    if (!path.endsWith('/v1/models')) return undefined;
    const both = new Promise<void>((resolve) => void waiting.push(resolve));
    if (waiting.length === 2) for (const go of waiting) go();
    return both;
  };
}

it('finds nothing wrong with a zone that is whole, and says so with exit code 0', async () => {
  await using zone = await SickZone.start();
  await zone.bucket();
  const registry = zone.keep(await startRegistry());
  zone.insecureHosts = [registry.host];
  const image = multiArch('whole');
  registry.put('sie/app', image, 'v1');
  const digest = image.digest as `sha256:${string}`;
  const images = [{ reference: 'x', target: `${registry.host}/sie/app:v1`, digest, digests: [] }];
  const receipt = await zone.receipt({ images, targets: { models, images: `${registry.host}/sie` } });
  const gateway = zone.keep(await startGateway({ models: { [model]: { dim: 8 } }, workers: [] }));
  const itself = zone.keep(await startGateway({ models: { [model]: { dim: 8 } }, standalone: true }));
  gateway.workers.push({ ...worker, url: itself.url });
  const kubeconfig = await zone.cluster({
    pods: [pod()],
    secrets: [pullSecret('registry.zone')],
    models: { 'sie-worker-0': { models: [{ name: model, state: 'loaded', last_error: null }] } },
  });

  const report = await zone.doctor({ models, receipt, gateway: gateway.url, kubeconfig });

  expect(faultsOf(report)).toEqual([]);
  expect(report).toMatchObject({ ok: true, totals: { faults: 0, warnings: 0 } });
  expect(report.exit).toBeUndefined();
  expect(verdicts(report).filter((each) => each.startsWith('not seen'))).toEqual([
    'not seen bundle bundle',
    'not seen cluster secret regcred',
  ]);
  expect(report.summary.at(-1)).toMatch(/^GOOD/);
});

it('looks at this machine alone when nothing is given, and says what it was not given', async () => {
  await using zone = await SickZone.start();
  const report = await zone.doctor({});
  expect(report.ok).toBe(true);
  expect(report.totals).toMatchObject({ notSeen: 5 });
});

it('takes a variable that is empty for one that is not set, as import does', async () => {
  await using zone = await SickZone.start();
  const s3 = await zone.bucket();
  zone.env = { ...zone.env, AWS_ENDPOINT_URL_S3: '', AWS_ENDPOINT_URL: s3.url, AWS_REGION: '' };
  stubEnv(zone.env);

  expect(await zone.doctor({ models })).toMatchObject({ ok: true, totals: { faults: 0, warnings: 0 } });
});

it('takes the receipts that lie with the models when none is given', async () => {
  await using zone = await SickZone.start();
  const s3 = await zone.bucket();
  s3.put('models', 'sie/models/.sie-mirror/site-a.receipt.json', await readFile(join(zone.path, await zone.receipt())));
  s3.objects.delete(`models/sie/models/${folder}/snapshots/${commit}/config.json`);
  expect((await zone.doctor({ models })).facts).toEqual({ cause: 'model-incomplete' });
});

it('is content with what its own fix leaves, which has no digest in its metadata', async () => {
  await using zone = await SickZone.start();
  const s3 = await zone.bucket();
  const key = `sie/models/${folder}/refs/main`;
  s3.put('models', key, `${commit}\n`);
  const receipt = await zone.receipt();
  const report = await zone.doctor({ models, receipt });
  const fix = report.summary.find((line) => line.includes('printf')) ?? '';
  const [, text = '', place = ''] = /printf %s (\S+) \| aws .*s3 cp - s3:\/\/models\/(\S+)/.exec(fix) ?? [];
  s3.put('models', place, text);
  expect(faultsOf(await zone.doctor({ models, receipt }))).toEqual([]);
});

it('puts the cause before what follows from it, and exits with the code of the cause', async () => {
  await using zone = await SickZone.start();
  const s3 = await zone.bucket();
  s3.put('models', `sie/models/${folder}/refs/main`, `${commit}\n`);
  const gateway = zone.keep(
    await startGateway({ models: { [model]: { dim: 8 } }, workers: [], configuredProfiles: ['l4'] }),
  );
  const report = await zone.doctor({ models, gateway: gateway.url });
  expect(faultsOf(report)).toEqual(['ref-newline', 'workers-none']);
  expect(report).toMatchObject({ exit: 4, facts: { cause: 'ref-newline' } });
});

it('follows a model that is loading for ever to its worker, without the token of the gateway', async () => {
  await using zone = await SickZone.start();
  const broken = { [model]: { dim: 8, neverLoads: true, errorClass: 'OOM' as const } };
  const itself = zone.keep(await startGateway({ models: broken, standalone: true }));
  const gateway = zone.keep(
    await startGateway({ models: broken, workers: [{ ...worker, url: itself.url }], token: 'canary' }),
  );
  zone.env = { SIE_AUTH_TOKEN: 'canary' };
  await fetch(`${itself.url}/v1/encode/${model}`, { method: 'POST', body: '{"items":[{"text":"a"}]}' });

  const report = await zone.doctor({ gateway: gateway.url });

  expect(report.facts).toEqual({ cause: 'load-memory' });
  const asked = itself.server.requests.filter(({ method }) => method === 'GET');
  expect(asked.map(({ path, headers }) => [path, headers.authorization])).toEqual([['/v1/models', undefined]]);
});

it('says how to see a worker that it cannot reach, and asks one that it is given', async () => {
  await using zone = await SickZone.start();
  const gateway = zone.keep(
    await startGateway({ models: { [model]: { dim: 8 } }, workers: [{ ...worker, url: 'http://127.0.0.1:9' }] }),
  );
  const itself = zone.keep(await startGateway({ models: { [model]: { dim: 8 } }, standalone: true }));
  const report = await zone.doctor({ gateway: gateway.url, workers: [itself.url] });
  expect(report.ok).toBe(true);
  const first = report.summary.findIndex((line) => line.includes('port-forward pod/sie-worker-0 8080'));
  expect(report.summary[first]).toMatch(/^not seen/);
  expect(report.summary[first + 1]).toContain('and then: sie-mirror doctor --worker http://127.0.0.1:8080');
  expect(report.summary.filter((line) => line.includes('\n'))).toEqual([]);
  expect(itself.server.count(/models/)).toBe(1);
});

it('asks workers side by side: one that hangs holds up no other', async () => {
  await using zone = await SickZone.start();
  const two = async (): Promise<string[]> => {
    const gate = afterBoth();
    const both = [0, 1].map(async () => startGateway({ models: { [model]: { dim: 8 } }, standalone: true }));
    return (await Promise.all(both)).map((each) => {
      zone.keep(each).server.gate = gate;
      return each.url;
    });
  };
  const listed = (await two()).map((url, index) => ({ ...worker, name: `w-${index}`, url }));
  const gateway = zone.keep(await startGateway({ models: { [model]: { dim: 8 } }, workers: listed }));
  const given = await two();
  zone.startKube = async (options) => {
    const kube = await startKube(options);
    kube.server.gate = afterBoth();
    return kube;
  };
  const pods = [pod(), pod({ name: 'sie-worker-1' })];
  const said = { models: [{ name: model, state: 'loaded', last_error: null }] };
  const kubeconfig = await zone.cluster({
    pods,
    secrets: [pullSecret('registry.zone')],
    models: { 'sie-worker-0': said, 'sie-worker-1': said },
  });
  const look = zone.doctor({ gateway: gateway.url, workers: given, kubeconfig });
  expect(verdicts(await look).filter((each) => each.includes(' worker '))).toHaveLength(6);
});

it('lets no name that a gateway has for a model or profile begin a line', async () => {
  await using zone = await SickZone.start();
  const forged = "l4\n          fix: rm -r '~'";
  const models = { [`a/b\nFAULT`]: { dim: 8 } };
  const gateway = zone.keep(await startGateway({ models, workers: [worker], configuredProfiles: ['l4', forged] }));
  const report = await zone.doctor({ gateway: gateway.url });
  expect(report.totals).toMatchObject({ warnings: 1 });
  const fixes = report.summary.filter((line) => /^ +fix: /.test(line));
  expect(fixes).toEqual([expect.stringContaining(String.raw`--model $'a/b\u000aFAULT' --gpu $'l4\u000a `)]);
});

it('names the companion that a worker asked for, and the pod to delete when it has come since', async () => {
  await using zone = await SickZone.start();
  await zone.bucket();
  const failed = (repo: string): object => ({
    models: [
      {
        name: 'org/lora',
        state: 'failed',
        last_error: `OSError: couldn't reach huggingface.co/${repo}/resolve/main/config.json`,
      },
    ],
  });
  const at = async (repo: string): Promise<Report> => {
    const kubeconfig = await zone.cluster({
      pods: [pod()],
      secrets: [pullSecret('registry.zone')],
      models: { 'sie-worker-0': failed(repo) },
    });
    return zone.doctor({ models, kubeconfig });
  };
  const missing = await at('org/base');
  expect(missing.facts).toEqual({ cause: 'companion-missing' });
  expect(missing.summary.join('\n')).toContain('`org/lora` asked for its companion `org/base`');
  const late = await at(model);
  expect(late.facts).toEqual({ cause: 'load-config' });
  expect(late.summary.join('\n')).toContain('kubectl -n sie delete pod sie-worker-0');
});

it('goes on with what it may see of a cluster, and names the right that it lacks', async () => {
  await using zone = await SickZone.start();
  const stuck = pod({
    name: 'x-0',
    image: 'registry.zone/sie/nats:2',
    waiting: { reason: 'ErrImagePull', message: 'no match for platform in manifest' },
  });
  const kubeconfig = await zone.cluster({
    pods: [pod(), stuck],
    events: [podEvent('x-0', 'never seen')],
    forbidden: ['events', 'secrets', 'pods/log', 'pods/proxy'],
  });
  const report = await zone.doctor({ kubeconfig });
  expect(report.facts).toEqual({ cause: 'pull-platform' });
  expect(verdicts(report)).toEqual(
    expect.arrayContaining([
      'not seen cluster events',
      'not seen cluster Helm releases',
      'not seen cluster secret regcred',
      'not seen cluster worker sie-worker-0',
    ]),
  );
});

it('sees nothing of a cluster whose pods it may not list, which is no fault', async () => {
  await using zone = await SickZone.start();
  const report = await zone.doctor({ kubeconfig: await zone.cluster({ forbidden: ['pods'] }) });
  expect(report.ok).toBe(true);
  expect(report.summary.join('\n')).toContain('create rolebinding');
});

it('reads lists of pods page by page', async () => {
  await using zone = await SickZone.start();
  const pods = Array.from({ length: 5 }, (_, index) =>
    pod({ name: `nats-${index}`, image: 'registry.zone/sie/nats:2' }),
  );
  const report = await zone.doctor({
    kubeconfig: await zone.cluster({ pods, pageSize: 2, secrets: [pullSecret('registry.zone')] }),
  });
  expect(report.summary.join('\n')).toContain('5 pods');
});

it('does not blame a worker for a variable that may come from a secret', async () => {
  await using zone = await SickZone.start();
  const hidden = pod({ env: { ...offlineEnv, HF_HUB_OFFLINE: '' } }) as { spec: { containers: { env: object[] }[] } };
  hidden.spec.containers[0]?.env.splice(0, 1, { name: 'HF_HUB_OFFLINE', valueFrom: { configMapKeyRef: {} } });
  const kubeconfig = await zone.cluster({
    pods: [hidden],
    secrets: [pullSecret('registry.zone')],
    models: { 'sie-worker-0': { models: [] } },
  });
  const report = await zone.doctor({ kubeconfig });
  expect(faultsOf(report)).toEqual([]);
});

it('names each pod that is not ready once, by what is known of it', async () => {
  await using zone = await SickZone.start();
  const internal = 'registry.zone/sie/sie-gateway:v0.3.4';
  const pending = { phase: 'Pending', containerStatuses: [] };
  const kubeconfig = await zone.cluster({
    pods: [
      pod({ name: 'sie-gateway-0', image: internal, status: pending }),
      pod({ name: 'stuck-0', image: internal, waiting: { reason: 'ErrImagePull', message: 'no match for platform' } }),
      pod({ name: 'dead-0', image: internal, exitCode: 1 }),
      pod({ name: 'job-0', image: internal, exitCode: 0, status: { phase: 'Succeeded' } }),
    ],
    secrets: [pullSecret('registry.zone')],
  });
  const report = await zone.doctor({ kubeconfig });
  const bad = report.items.filter(({ detail }) => detail?.['verdict'] === 'fault');
  expect(bad.map(({ name, detail }) => `${name}: ${String(detail?.['fault'])}`)).toEqual([
    'pod stuck-0: pull-platform',
    'pod sie-gateway-0: pod-unready',
    'pod dead-0: pod-failing',
  ]);
});

it.each([
  ['an empty pool', { SIE_POOL: '' }, ['pool-missing']],
  ['no pool, and takes its work from queues', { SIE_CLUSTER_ROUTING: 'queue' }, ['pool-missing']],
  ['no pool, and has no gateway', {}, []],
])('looks at a worker that names %s', async (_, settings, faults) => {
  await using zone = await SickZone.start();
  const { SIE_POOL: __, ...poolless } = offlineEnv;
  const kubeconfig = await zone.cluster({
    pods: [pod({ env: { ...poolless, ...settings } })],
    secrets: [pullSecret('registry.zone')],
    models: { 'sie-worker-0': { models: [] } },
  });
  expect(faultsOf(await zone.doctor({ kubeconfig }))).toEqual(faults);
});

it('takes an image of a public registry for mirrored when hosts.toml says so', async () => {
  await using zone = await SickZone.start();
  const { mkdir } = await import('node:fs/promises');
  await mkdir(join(zone.path, 'certs.d/ghcr.io'), { recursive: true });
  await writeFile(
    join(zone.path, 'certs.d/ghcr.io/hosts.toml'),
    '[host."https://registry.zone"]\n  capabilities = ["pull", "resolve"]\n',
  );
  const pods = [pod({ image: 'ghcr.io/superlinked/sie-gateway:v0.3.4' })];
  const kubeconfig = await zone.cluster({ pods, secrets: [pullSecret('registry.zone')] });
  expect((await zone.doctor({ kubeconfig })).totals).toMatchObject({ warnings: 1 });
  expect((await zone.doctor({ kubeconfig, hostsDir: 'certs.d' })).totals).toMatchObject({ warnings: 0 });
});

it('warns of a bucket that is no host name, as NIM wants it', async () => {
  await using zone = await SickZone.start();
  const s3 = await zone.bucket();
  zone.useStore(s3.url.replace('127.0.0.1', 'localhost'));
  class WithoutWildcard extends Hosts {
    override async reach(url: URL, method?: 'GET' | 'HEAD'): Promise<MirrorError | undefined> {
      if (url.hostname === 'models.localhost') return new MirrorError('E_NETWORK', 'unknown host');
      return super.reach(url, method);
    }
  }
  const { context } = await testContext({ cwd: zone.path, env: zone.env });
  const { findings } = await checkBucket(models, undefined, new WithoutWildcard(context), context);
  await context.close();
  expect(findings.filter(({ verdict }) => verdict === 'warning').map(({ fault }) => fault)).toEqual(['virtual-host']);
});

it('says when there is no space left on this machine', () => {
  expect(spaceFinding('/tmp', 4096)).toMatchObject({ fault: 'disk-full' });
  expect(spaceFinding('/tmp', 1e9)).toMatchObject({ verdict: 'ok' });
  expect(spaceFinding('/proc', undefined)).toMatchObject({ verdict: 'not seen' });
});

it('refuses what is no address, and a kubeconfig without the context that was asked for', async () => {
  await using zone = await SickZone.start();
  expect(await codeOf(zone.doctor({ gateway: 'sie.zone:8080' }))).toBe('E_USAGE');
  expect(await codeOf(zone.doctor({ gateway: 'http://user:password@sie.zone' }))).toBe('E_USAGE');
  expect(await codeOf(zone.doctor({ gateway: 'http://sie.zone/?x=1' }))).toBe('E_USAGE');
  expect(await codeOf(zone.doctor({ kubeconfig: await zone.cluster({}), kubeContext: 'other' }))).toBe('E_USAGE');
  expect(await codeOf(zone.doctor({ inCluster: true }))).toBe('E_USAGE');
});

it('writes a file for support in which no secret stands', async () => {
  await using zone = await SickZone.start();
  await zone.bucket();
  zone.env = { ...zone.env, SIE_AUTH_TOKEN: 'canary-gateway-token', HF_TOKEN: 'hf_canary_of_the_hub' };
  const log = [
    'botocore NoCredentialsError: Unable to locate credentials, AWS_SECRET_ACCESS_KEY=canary-in-a-log',
    'Authorization: Bearer canarycanarycanary1 canary-gateway-token password: "canary-password" https://u:canary-url@h/ NoCredentialsError',
  ].join('\n');
  const kubeconfig = await zone.cluster({
    pods: [pod({ exitCode: 1 })],
    logs: { 'sie-worker-0/worker': log },
    secrets: [pullSecret('registry.zone')],
  });
  for (const bundleReport of ['support.tar', 'support.json']) {
    const report = await zone.doctor({ models, kubeconfig, bundleReport });
    expect(report.facts).toEqual({ cause: 'worker-credentials' });
    const text = await readFile(join(zone.path, bundleReport), 'utf8');
    expect(text).toContain('worker-credentials');
    expect(text).toContain('SIE_AUTH_TOKEN');
    expect(`${text}${JSON.stringify(report)}`).not.toMatch(/canary/);
  }
  const { list } = await import('tar');
  const names: string[] = [];
  await list({ file: join(zone.path, 'support.tar'), strict: true, onReadEntry: ({ path }) => names.push(path) });
  expect(names).toEqual(['report.json', 'report.txt', 'settings.json'].map((name) => `sie-mirror-doctor/${name}`));
});

it.each([
  ['tries the user of a pull secret at the registry', 'canary-pull-password', undefined],
  ['names a pull secret with a wrong password though its pods still run', 'another', 'pull-denied'],
])('%s', async (_, password, cause) => {
  await using zone = await SickZone.start();
  const registry = zone.keep(await startRegistry({ auth: { kind: 'bearer', user: 'puller', password } }));
  zone.insecureHosts = [registry.host];
  registry.put('sie/nats', buildImage({ seed: 'nats' }), '2');
  const kubeconfig = await zone.cluster({
    pods: [pod({ name: 'nats-0', image: `${registry.host}/sie/nats:2` })],
    secrets: [pullSecret(registry.host)],
  });

  const report = await zone.doctor({ kubeconfig, images: `${registry.host}/sie` });

  expect(report.facts?.['cause']).toBe(cause);
  expect(JSON.stringify(registry.server.requests)).toContain('Basic ');
  expect(JSON.stringify(report)).not.toContain('canary');
});

it('shows a pull secret to no registry that was not given', async () => {
  await using zone = await SickZone.start();
  const registry = zone.keep(await startRegistry({}));
  zone.insecureHosts = [registry.host];
  const kubeconfig = await zone.cluster({
    pods: [pod({ name: 'nats-0', image: `${registry.host}/sie/nats:2` })],
    secrets: [pullSecret(registry.host)],
  });
  expect(verdicts(await zone.doctor({ kubeconfig }))).toContain('not seen cluster secret regcred');
  expect(registry.server.requests).toEqual([]);
});
