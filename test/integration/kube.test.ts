import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import * as z from '../../src/core/zod.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { inClusterAccess, type KubeAccess, kubeconfigAccess } from '../../src/kube/config.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { pod, startKube } from '../support/kube.ts';
import { temporaryDirectory } from '../support/place.ts';
import { pem, serverTls, tlsPath } from '../support/tls.ts';

const schema = z.looseObject({ items: z.array(z.looseObject({})) });

async function podsBy(access: KubeAccess): Promise<number> {
  const { context } = await testContext({ cwd: '/' });
  try {
    const list = await new KubeClient(context.http, access).list('/api/v1/namespaces/sie/pods', schema);
    return list.items.length;
  } finally {
    await context.close();
  }
}

function config(server: string, cluster: object, user: object): object {
  return {
    'current-context': 'zone',
    clusters: [{ name: 'zone', cluster: { server, ...cluster } }],
    contexts: [{ name: 'zone', context: { cluster: 'zone', user: 'me' } }],
    users: [{ name: 'me', user }],
  };
}

it('shows a client certificate and trusts the authority that the kubeconfig names, by file or by content', async () => {
  const kube = await startKube({ tls: serverTls('server', { clientAuthority: 'ca.pem' }), pods: [pod()] });
  const files = { 'client-certificate': tlsPath('client.pem'), 'client-key': tlsPath('client.key') };
  const data = Object.fromEntries(
    Object.entries({ 'client-certificate-data': pem('client.pem'), 'client-key-data': pem('client.key') }).map(
      ([name, text]) => [name, Buffer.from(text).toString('base64')],
    ),
  );
  const authority = { 'certificate-authority': tlsPath('ca.pem') };
  for (const user of [files, data])
    expect(
      await podsBy(await kubeconfigAccess(config(kube.server.url, authority, user), '/x/config', undefined, {})),
    ).toBe(1);
  expect(
    await codeOf(podsBy(await kubeconfigAccess(config(kube.server.url, {}, files), '/x/config', undefined, {}))),
  ).toBe('E_TLS');
  expect(
    await codeOf(podsBy(await kubeconfigAccess(config(kube.server.url, authority, {}), '/x/config', undefined, {}))),
  ).toBe('E_TLS');
  await kube.close();
});

it('is the account of its pod inside a cluster', async () => {
  await using place = await temporaryDirectory();
  const kube = await startKube({ tls: serverTls(), token: 'of-the-pod', pods: [pod(), pod({ name: 'b' })] });
  await mkdir(join(place.path, 'account'));
  const write = (name: string, text: string): Promise<void> => writeFile(join(place.path, 'account', name), text);
  await write('ca.crt', pem('ca.pem'));
  await write('token', 'of-the-pod\n');
  await write('namespace', 'sie');
  const [host, port] = kube.server.host.split(':');
  const env = { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port };
  const access = await inClusterAccess(env, join(place.path, 'account'));
  expect(access.namespace).toBe('sie');
  expect(await podsBy(access)).toBe(2);
  await kube.close();
});

it('says that a command gave no token, and nothing of what it printed', async () => {
  const user = { exec: { command: 'sh', args: ['-c', 'echo canary; exit 1'] } };
  const access = await kubeconfigAccess(config('http://127.0.0.1:9', {}, user), '/x/config', undefined, {
    PATH: '/usr/bin:/bin',
  });
  const error: unknown = await access.authorization().catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'E_AUTH' });
  expect(JSON.stringify(error) + String((error as Error).stack)).not.toContain('canary');
});
