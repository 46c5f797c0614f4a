import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Digest } from '../../src/core/digest.ts';
import type { Report } from '../../src/core/report.ts';
import { buildImage, multiArch } from '../support/images.ts';
import { pod, pullSecret } from '../support/kube.ts';
import { startRegistry } from '../support/registry.ts';
import { commit, folder, models, SickZone } from '../support/sick-zone.ts';

/** One input that is damaged never takes from the reader what was found elsewhere. */

function faultsOf(report: Report): unknown[] {
  return report.items.flatMap(({ detail }) => (detail?.['verdict'] === 'fault' ? [detail['fault']] : []));
}

function unseenOf(report: Report): string[] {
  return report.items.filter(({ state }) => state === 'skipped').map(({ kind, name }) => `${kind} ${name}`);
}

it('looks at the models and the cluster though a receipt in the bucket is damaged', async () => {
  await using zone = await SickZone.start();
  const s3 = await zone.bucket();
  s3.put('models', 'sie/models/.sie-mirror/x.receipt.json', 'no receipt');
  s3.put('models', `sie/models/${folder}/refs/main`, `${commit}\n`);
  const kubeconfig = await zone.cluster({ pods: [pod({ exitCode: 1 })], secrets: [pullSecret('registry.zone')] });
  const report = await zone.doctor({ models, kubeconfig });
  expect(faultsOf(report)).toEqual(['receipt-damaged', 'ref-newline', 'pod-failing']);
  expect(report.summary.join('\n')).toContain('s3 rm s3://models/sie/models/.sie-mirror/x.receipt.json');
});

it('looks at the other images though a manifest of one is none', async () => {
  await using zone = await SickZone.start();
  const registry = zone.keep(await startRegistry());
  zone.insecureHosts = [registry.host];
  const whole = multiArch('whole');
  const bad = buildImage({ seed: 'bad' });
  registry.put('sie/whole', whole, 'v1');
  const [[digest, { mediaType }] = ['', { mediaType: '' }]] = bad.manifests;
  registry.put('sie/bad', { ...bad, manifests: new Map([[digest, { mediaType, bytes: Buffer.from('{') }]]) }, 'v1');
  const images = (['bad', 'whole'] as const).map((name) => ({
    reference: 'x',
    target: `${registry.host}/sie/${name}:v1`,
    digest: (name === 'bad' ? digest : whole.digest) as Digest,
    digests: [],
  }));
  const receipt = await zone.receipt({ models: [], targets: { images: `${registry.host}/sie` }, images });
  const report = await zone.doctor({ receipt });
  expect(faultsOf(report)).toEqual(['image-damaged']);
  expect(report.items.map(({ name }) => name)).toContain(`${registry.host}/sie/whole:v1`);
});

it('does not believe a registry that sends another manifest under the digest that was imported', async () => {
  await using zone = await SickZone.start();
  const registry = zone.keep(await startRegistry());
  zone.insecureHosts = [registry.host];
  const imported = buildImage({ seed: 'imported' });
  const other = buildImage({ seed: 'other, and as lon' });
  const manifests = new Map([
    [imported.digest, other.manifests.get(other.digest) ?? { mediaType: '', bytes: Buffer.of() }],
  ]);
  registry.put('sie/app', { ...other, digest: imported.digest, manifests }, 'v1');
  const target = `${registry.host}/sie/app:v1`;
  const images = [{ reference: 'x', target, digest: imported.digest as Digest, digests: [] }];
  const receipt = await zone.receipt({ models: [], targets: { images: `${registry.host}/sie` }, images });
  const report = await zone.doctor({ receipt });
  expect(faultsOf(report)).toEqual(['image-damaged']);
});

it.each([
  ['is not there', undefined],
  ['is no YAML', 'a: [b'],
  ['is no kubeconfig', 'no kubeconfig'],
  ['names a file of a token that is not there', '{tokenFile: gone}'],
])('tells what it found elsewhere when the kubeconfig %s', async (_, text) => {
  await using zone = await SickZone.start();
  if (text?.startsWith('{'))
    await writeFile(
      join(zone.path, 'kubeconfig'),
      `current-context: z\nclusters: [{name: z, cluster: {server: "http://127.0.0.1:9"}}]\ncontexts: [{name: z, context: {cluster: z, user: z}}]\nusers: [{name: z, user: ${text}}]\n`,
    );
  else if (text !== undefined) await writeFile(join(zone.path, 'kubeconfig'), text);
  const report = await zone.doctor({ kubeconfig: 'kubeconfig', gateway: 'http://127.0.0.1:9' });
  expect(faultsOf(report)).toEqual(['kube-config', 'gateway-unreachable']);
  expect(report.exit).toBe(6);
});

it('looks at the pods though the list of events is larger than what is read', async () => {
  await using zone = await SickZone.start();
  const kubeconfig = await zone.cluster({
    pods: [pod({ exitCode: 1 })],
    secrets: [pullSecret('registry.zone')],
    faults: ({ path }) =>
      path.includes('/events')
        ? { kind: 'status', status: 200, headers: { 'content-type': 'application/json' }, body: ' '.repeat(65 << 20) }
        : undefined,
  });
  const report = await zone.doctor({ kubeconfig });
  expect(faultsOf(report)).toEqual(['pod-failing']);
  expect(unseenOf(report)).toContain('cluster events');
});

it('asks the gateway though the list of pods is larger than what is read', async () => {
  await using zone = await SickZone.start();
  const kubeconfig = await zone.cluster({
    faults: () => ({ kind: 'status', status: 200, headers: {}, body: ' '.repeat(65 << 20) }),
  });
  const report = await zone.doctor({ kubeconfig, gateway: 'http://127.0.0.1:9' });
  expect(faultsOf(report)).toEqual(['gateway-unreachable']);
  expect(unseenOf(report)).toContain('cluster namespace sie');
});
