import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { pod, pullSecret, startKube } from '../support/kube.ts';
import { commit, folder, models, SickZone } from '../support/sick-zone.ts';

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
