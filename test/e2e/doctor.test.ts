import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { buildImage } from '../support/images.ts';
import { offlineEnv, pod, pullSecret, startKube } from '../support/kube.ts';
import { startRegistry } from '../support/registry.ts';
import { commit, folder, model, models, SickZone } from '../support/sick-zone.ts';
import { startGateway } from '../support/sie.ts';

it('exits with the code of the most probable cause, and says the same to people, programs and CI', async () => {
  await using zone = await SickZone.start();
  const s3 = await zone.bucket();
  s3.put('models', `sie/models/${folder}/refs/main`, `${commit}\n`);
  const options = { cwd: zone.path, env: zone.env };

  const told = await runCli(['doctor', '--models', models, '--junit', 'verdict.xml'], options);
  const json = await runCli(['doctor', '--models', models, '--json'], options);

  expect(told.code).toBe(4);
  expect(told.stdout.trimEnd().split('\n').at(-1)).toBe(
    'FAULTS: 1 fault; most probable cause: `refs/main` ends in a line break',
  );
  expect(await readFile(join(zone.path, 'verdict.xml'), 'utf8')).toContain('failures="1"');
  expect(json.code).toBe(4);
  expect(JSON.parse(json.stdout)).toMatchObject({ command: 'doctor', ok: false, facts: { cause: 'ref-newline' } });
  expect(told.stdout + told.stderr + json.stdout).not.toContain('canary');
});

it('asks a cluster as a kubeconfig says: by a command that gives the token', async () => {
  await using zone = await SickZone.start();
  const secrets = [pullSecret('registry.zone')];
  const kube = zone.keep(
    await startKube({ token: 'canary-exec-token', pods: [pod({ image: 'registry.zone/sie/nats:2' })], secrets }),
  );
  const script = `#!/bin/sh\necho '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$GIVEN'"}}'\n`;
  await writeFile(join(zone.path, 'login.sh'), script, { mode: 0o755 });
  const exec =
    '{apiVersion: client.authentication.k8s.io/v1, command: ./login.sh, env: [{name: GIVEN, value: canary-exec-token}]}';
  await writeFile(join(zone.path, 'config'), kube.kubeconfig().replace(/\{token: .*?\}/, `{exec: ${exec}}`));

  const told = await runCli(['doctor', '--kubeconfig', 'config'], { cwd: zone.path });

  expect(told.stdout).toContain('namespace sie: 1 pod');
  expect(told.code).toBe(0);
  expect(told.stdout + told.stderr).not.toContain('canary');
});

it('lets no secret out: not to the screen, not to CI, not into the file for support', async () => {
  await using zone = await SickZone.start();
  const s3 = await zone.bucket();
  s3.put('models', `sie/models/${folder}/refs/main`, `${commit}\n`);
  const registry = zone.keep(await startRegistry({ auth: { kind: 'bearer', user: 'me', password: 'other' } }));
  const image = buildImage({ seed: 'secret' });
  registry.put('sie/nats', image, '2');
  await mkdir(join(zone.path, '.docker'));
  const login = Buffer.from('me:canary-docker').toString('base64');
  await writeFile(
    join(zone.path, '.docker/config.json'),
    JSON.stringify({ auths: { [registry.host]: { auth: login } } }),
  );
  const signed = 'https://minio/x?X-Amz-Credential=AKIACANARYCANARYCANA&X-Amz-Signature=canary5';
  const kubeconfig = await zone.cluster({
    pods: [
      pod({
        exitCode: 1,
        env: { ...offlineEnv, AWS_SECRET_ACCESS_KEY: 'canary-in-a-pod', HF_TOKEN: 'hf_canarycanary' },
      }),
      pod({ name: 'nats-0', image: `${registry.host}/sie/nats:2` }),
    ],
    logs: { 'sie-worker-0/worker': `NoCredentialsError at ${signed} with token=canary-in-a-log\n` },
    secrets: [pullSecret(registry.host)],
  });
  const refusal = JSON.stringify({ message: 'Invalid token canary-gateway' });
  const gateway = zone.keep(
    await startGateway({
      models: { [model]: { dim: 8 } },
      faults: () => ({ kind: 'status', status: 403, body: refusal }),
    }),
  );
  const digest = image.digest as `sha256:${string}`;
  const images = [{ reference: 'x', target: `${registry.host}/sie/nats:2`, digest, digests: [] }];
  const receipt = await zone.receipt({ images, targets: { models, images: `${registry.host}/sie` } });
  const env = {
    ...zone.env,
    AWS_ENDPOINT_URL_S3: (zone.env['AWS_ENDPOINT_URL_S3'] ?? '').replace('://', '://me:canary-in-an-address@'),
    SIE_AUTH_TOKEN: 'canary-gateway',
    HF_TOKEN: 'hf_canarycanary2',
    NGC_API_KEY: 'nvapi-canarycanarycanarycanary',
    HTTPS_PROXY: 'http://me:canary-proxy@127.0.0.1:9',
    NO_PROXY: '127.0.0.1',
  };
  const args = [
    'doctor',
    '--models',
    models,
    '--receipt',
    receipt,
    '--gateway',
    gateway.url,
    '--kubeconfig',
    kubeconfig,
  ];
  const outputs = ['--insecure-host', registry.host, '--bundle-report', 'support.tar', '--junit', 'doctor.xml', '-v'];

  const told = await runCli([...args, ...outputs], { cwd: zone.path, env });

  const written = await Promise.all(
    ['support.tar', 'doctor.xml'].map((name) => readFile(join(zone.path, name), 'utf8')),
  );
  const all = [told.stdout, told.stderr, ...written].join('\n');
  for (const fault of ['ref-newline', 'registry-denied', 'pull-denied', 'worker-credentials', 'gateway-denied'])
    expect(all).toContain(fault);
  expect(all).not.toMatch(/canary/i);
  expect(all).not.toContain(login);
});
