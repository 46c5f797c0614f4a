import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse as parseToml } from 'smol-toml';
import { parse } from 'yaml';
import type { Receipt } from '../../src/bundle/records/receipt.ts';
import { copy } from '../../src/commands/copy.ts';
import type { ValuesOptions } from '../../src/commands/values.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { buildImage } from '../support/images.ts';
import { filesBelow } from '../support/place.ts';
import { mirrored, receivedImage, sieReferences } from '../support/receipts.ts';
import { startRegistry } from '../support/registry.ts';
import { models, valuesRuns, whole, zone } from '../support/values-run.ts';

const runs = valuesRuns();

describe('values for SIE', () => {
  it('take images, models and the way to both from the receipt', async () => {
    await runs.run(whole, { endpoint: 'https://minio.zone' });

    expect(await runs.yaml('sie/values-0.3.4.yaml')).toMatchObject({
      global: { imagePullSecrets: ['regcred'], image: { pullSecretNames: ['regcred'] } },
      config: { image: { repository: `${zone}/ghcr.io/superlinked/sie-config`, tag: 'v0.3.4' } },
      gateway: { image: { repository: `${zone}/ghcr.io/superlinked/sie-gateway`, tag: 'v0.3.4' } },
      workers: {
        common: {
          image: { repository: `${zone}/ghcr.io/superlinked/sie-server`, tag: 'v0.3.4' },
          platform: 'cuda12',
          clusterCache: { enabled: true, url: models },
          extraEnv: expect.arrayContaining([
            { name: 'HF_HUB_OFFLINE', value: '1' },
            { name: 'AWS_ENDPOINT_URL_S3', value: 'https://minio.zone' },
            {
              name: 'AWS_SECRET_ACCESS_KEY',
              valueFrom: { secretKeyRef: { name: 'model-bucket', key: 'AWS_SECRET_ACCESS_KEY' } },
            },
          ]) as unknown,
        },
      },
      nats: {
        container: { image: { repository: `${zone}/docker.io/library/nats`, tag: '2.12.6-alpine' } },
        reloader: { image: { tag: '0.21.1' } },
        natsBox: { container: { image: { tag: '0.19.3' } } },
      },
      telemetry: { enabled: false },
      payloadStore: { enabled: false },
    });
    expect(runs.warnings).toEqual([]);
  });

  it('come with a post-renderer where the chart does not hand the cluster cache on', async () => {
    await runs.run(whole, { consumers: ['sie'] });
    const old = await filesBelow(runs.path('sie'));
    await runs.run({ ...whole, images: mirrored(zone, sieReferences('0.10.1', true)) }, { consumers: ['sie'] });
    const fresh = (await filesBelow(runs.path('sie'))).filter((path) => !old.includes(path));

    expect(old).toEqual(['kustomization.yaml', 'plugin.yaml', 'post-render.sh', 'values-0.3.4.yaml']);
    expect(fresh).toEqual(['values-0.10.1.yaml']);
    expect(await runs.yaml('sie/values-0.10.1.yaml')).toMatchObject({
      gateway: { waitForConfig: { image: `${zone}/docker.io/library/busybox:1.37.0` } },
      workers: { common: { workerSidecar: { image: { tag: 'v0.10.1' } } } },
    });
  });

  it('switch off what would wait for an image that is not there', async () => {
    const few = sieReferences('0.10.1', true).filter((name) => !/pause|busybox|natsio/.test(name));

    await runs.run({ ...whole, images: mirrored(zone, few) });

    expect(await runs.yaml('sie/values-0.10.1.yaml')).toMatchObject({
      gateway: { waitForConfig: { enabled: false } },
      workers: { common: { imagePrepull: { enabled: false } } },
      nats: { reloader: { enabled: false }, natsBox: { enabled: false } },
    });
  });

  it.each([
    ['0.3.4', false],
    ['0.6.30', true],
    ['0.10.1', false],
  ])('say of the chart %s whether it may write payloads that nobody asked for (%s)', async (version, may) => {
    await runs.run({ ...whole, images: mirrored(zone, sieReferences(version, version !== '0.3.4')) });

    expect((await runs.text(`sie/values-${version}.yaml`)).includes('payloads/ beside the models')).toBe(may);
  });

  it('leave the pre-pull on when nodes find its image', async () => {
    await runs.run(whole);

    expect(await runs.yaml('sie/values-0.3.4.yaml')).not.toHaveProperty('workers.common.imagePrepull');
  });

  it('warn of images that the chart needs and the zone lacks', async () => {
    await runs.run({ ...whole, images: mirrored(zone, ['ghcr.io/superlinked/sie-gateway:v0.3.4']) });

    expect(runs.warnings.join()).toContain('sie-config');
    expect(runs.warnings.join()).toContain('library/nats');
  });

  it('warn of an image that neither values nor hosts.toml can lead to', async () => {
    const moved = receivedImage('registry.k8s.io/pause:3.10', `${zone}/stop`);
    const images = (whole.images ?? []).filter(({ reference }) => reference !== moved.reference);

    await runs.run({ ...whole, images: [...images, moved] });

    expect(runs.warnings).toEqual([expect.stringContaining(`${zone}/stop:3.10`)]);
  });

  it.each([
    ['irsa', models, 'arn:aws:iam::1:role/r', { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/r' }],
    ['irsa', models, undefined, { 'eks.amazonaws.com/role-arn': 'REPLACE-ME-role-arn' }],
    ['workload-identity', 'gs://m/models', 'a@b.iam', { 'iam.gke.io/gcp-service-account': 'a@b.iam' }],
  ] as const)('let pods read by %s', async (credentials, target, identity, annotations) => {
    await runs.run({ ...whole, targets: { models: target, images: zone } }, { credentials, identity });

    const written = await runs.text('sie/values-0.3.4.yaml');
    expect(parse(written)).toMatchObject({
      serviceAccount: { annotations },
      workers: { common: { clusterCache: { url: target } } },
    });
    expect(written).not.toContain('secretKeyRef');
    expect(await filesBelow(runs.path('secrets'))).toEqual(['pull-secret.yaml']);
  });
});

describe('hosts.toml', () => {
  it('leads a copy by the name that the world knows to where the zone has it', async () => {
    const registry = await startRegistry();
    try {
      const image = buildImage({ seed: 'nats', layers: 2 });
      registry.put('mirror/docker.io/library/nats', image, '2');
      const prefix = `${registry.host}/mirror`;
      const images = mirrored(prefix, ['docker.io/library/nats:2']);
      await runs.run(
        { targets: { images: prefix }, images },
        { consumers: ['containerd'] },
        { insecureHosts: [registry.host] },
      );
      const hostsDir = runs.path('containerd/certs.d');
      const { context } = await testContext({ cwd: runs.directory, hostsDir });

      const report = await copy({ source: 'nats:2', target: 'oci:layout', referrers: true }, context);
      await context.close();

      expect(report).toMatchObject({ ok: true, items: [{ digest: image.digest }] });
      expect(parseToml(await runs.text('containerd/certs.d/docker.io/hosts.toml'))).toHaveProperty('server');
    } finally {
      await registry.close();
    }
  });
});

describe('files', () => {
  it('are the same bytes for the same receipt, and then not written again', async () => {
    const first = await runs.run(whole);
    const second = await runs.run(whole);

    expect(first.items.every(({ state }) => state === 'done')).toBe(true);
    expect(second.items.every(({ state }) => state === 'present')).toBe(true);
    expect(second.items.map(({ digest }) => digest)).toEqual(first.items.map(({ digest }) => digest));
  });

  it('are listed in the report, with what is left to fill in', async () => {
    const report = await runs.run(whole);
    const names = report.items.map(({ name }) => name);

    expect(names.toSorted()).toEqual(await filesBelow(runs.path('')));
    expect(report.totals['placeholders']).toBeGreaterThan(0);
    expect(report.summary.join('\n')).toContain('REPLACE-ME');
  });

  it('do not replace one that was changed, and then none is written', async () => {
    await runs.run(whole, { consumers: ['sie'] });
    const path = runs.path('sie/values-0.3.4.yaml');
    await writeFile(path, (await readFile(path, 'utf8')).replace('platform: cuda12', 'platform: cpu'));

    expect(await codeOf(runs.run({ ...whole, models: [] }))).toBe('E_REFUSED');
    expect(await filesBelow(runs.path(''))).not.toContain('kserve/example.yaml');
    expect(await readFile(path, 'utf8')).toContain('platform: cpu');
  });

  it('replace one of somebody else by force only', async () => {
    await mkdir(dirname(runs.path('sie/post-render.sh')), { recursive: true });
    await writeFile(runs.path('sie/post-render.sh'), 'echo mine\n');

    expect(await codeOf(runs.run(whole))).toBe('E_REFUSED');
    expect((await runs.run(whole, { force: true })).ok).toBe(true);
    expect(await runs.text('sie/post-render.sh')).toMatch(/^#!\/bin\/sh\n/);
  });

  it('are printed where no directory is given', async () => {
    const report = await runs.run(whole, { out: undefined, consumers: ['sie'] });
    const [values] = report.items.map(({ detail }) => String(detail?.['text']));

    expect(parse(report.summary.slice(0, values?.split('\n').length).join('\n'))).toEqual(parse(values ?? ''));
    expect(await filesBelow(runs.directory)).toEqual(['site-a.receipt.json']);
  });

  it('hold placeholders that a cluster refuses instead of secrets, whatever stands in the environment', async () => {
    await runs.run(whole, {}, { env: { AWS_ACCESS_KEY_ID: 'AKIACANARY', AWS_SECRET_ACCESS_KEY: 'canary-secret' } });
    const all = await Promise.all((await filesBelow(runs.path(''))).map(async (path) => runs.text(path)));
    const secret = (await runs.yaml('secrets/model-bucket.yaml')) as { data: Record<string, string> };

    expect(all.join()).not.toMatch(/canary/i);
    expect(secret.data['AWS_SECRET_ACCESS_KEY']).not.toMatch(/^[A-Za-z0-9+/=]*$/);
  });
});

describe('it refuses', () => {
  it.each<[string, Partial<Receipt>, Partial<ValuesOptions>]>([
    ['the receipt of an import that did not end', { ...whole, complete: false }, {}],
    ['a consumer that there is not', whole, { consumers: ['sie', 'cri-o'] }],
    ['a consumer that the receipt has nothing for', whole, { consumers: ['nim'] }],
    ['a receipt that holds nothing', {}, {}],
    ['Workload Identity for S3', whole, { credentials: 'workload-identity' }],
    ['IRSA for Google storage', { ...whole, targets: { models: 'gs://m/models' } }, { credentials: 'irsa' }],
    ['an endpoint with a password', whole, { endpoint: 'https://a:b@minio.zone' }],
    ['an endpoint that is no address', whole, { endpoint: 'minio.zone' }],
    ['a release that there is not', whole, { sieVersion: 'newest' }],
  ])('%s', async (_, receipt, options) => {
    expect(await codeOf(runs.run(receipt, options))).toBe('E_USAGE');
    expect(await filesBelow(runs.directory)).toEqual(['site-a.receipt.json']);
  });

  it('a file that is no receipt', async () => {
    await writeFile(join(runs.directory, 'lock.json'), '{"schema":"sie-mirror/lock/v1"}');

    expect(await codeOf(runs.run(whole, { receipt: 'lock.json' }))).toBe('E_USAGE');
    expect(await codeOf(runs.run(whole, { receipt: 'none.json' }))).toBe('E_NOT_FOUND');
  });

  it('a receipt whose words would break out of a comment', async () => {
    const hostile = { ...whole, targets: { models: 's3://models/x\nkind: Secret', images: zone } };

    expect(await codeOf(runs.run(hostile))).toBe('E_CORRUPT');
  });
});
