import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import type { KubeOptions } from '../support/kube.ts';
import { waitFor } from '../support/wait.ts';
import { launch, type RealServer } from './servers.ts';

const adminToken = 'token-of-the-admin';

/** Users that the server knows, by their tokens. */
export const kubeTokens = { doctor: 'canary-kube-token', viewer: 'canary-viewer-token', nobody: 'canary-nobody-token' };

/** A namespace of the server, with what a test puts into it. */
interface FilledNamespace {
  namespace: string;
  kubeconfig(): string;
  close(): Promise<void>;
}

/** A kube-apiserver with its etcd, without nodes, controllers or a scheduler: what is put into it stays as it is. */
export class RealKube {
  readonly #etcd: RealServer;
  readonly #server: RealServer;
  readonly #authority: string;
  readonly #agent = new Agent({ connect: { rejectUnauthorized: false } });
  #count = 0;

  private constructor(etcd: RealServer, server: RealServer, authority: string) {
    this.#etcd = etcd;
    this.#server = server;
    this.#authority = authority;
  }

  static async start(directory: string): Promise<RealKube> {
    await mkdir(directory, { recursive: true });
    const etcd = await startEtcd(directory);
    const server = await startServer(directory, etcd);
    const kube = new RealKube(etcd, server, await readFile(join(directory, 'certs/apiserver.crt'), 'utf8'));
    await kube.#allow();
    return kube;
  }

  async stop(): Promise<void> {
    await this.#agent.close();
    await this.#server.stop();
    await this.#etcd.stop();
  }

  /** Makes a namespace with the pods, events and secrets; logs and answers of pods need a node. @param token who asks */
  async makeNamespace(options: KubeOptions, token = kubeTokens.doctor): Promise<FilledNamespace> {
    const namespace = `sie-${++this.#count}`;
    const below = `/api/v1/namespaces/${namespace}`;
    await this.#send('POST', '/api/v1/namespaces', { metadata: { name: namespace } });
    for (const secret of options.secrets ?? []) await this.#send('POST', `${below}/secrets`, secret);
    for (const pod of options.pods ?? []) await this.#putPod(below, namespace, pod as Pod);
    for (const event of options.events ?? []) await this.#putEvent(below, namespace, event as Event);
    const data = Buffer.from(this.#authority).toString('base64');
    return {
      namespace,
      kubeconfig: () =>
        [
          'current-context: zone',
          `clusters: [{name: zone, cluster: {server: "${this.#server.url}", certificate-authority-data: ${data}}}]`,
          `contexts: [{name: zone, context: {cluster: zone, user: me, namespace: ${namespace}}}]`,
          `users: [{name: me, user: {token: "${token}"}}]`,
          '',
        ].join('\n'),
      close: async () => Promise.resolve(),
    };
  }

  /** Creates an object; a field that the server does not know is an error. */
  async apply(namespace: string, body: KubeObject): Promise<void> {
    const [group, version] = body.apiVersion.includes('/') ? body.apiVersion.split('/') : [undefined, body.apiVersion];
    const root = group === undefined ? `/api/${version}` : `/apis/${group}/${version}`;
    const kind = `${body.kind.toLowerCase()}s`;
    await this.#send('POST', `${root}/namespaces/${namespace}/${kind}?fieldValidation=Strict`, body);
  }

  /** Many small objects, so that a list has several pages. */
  async putConfigMaps(namespace: string, count: number): Promise<void> {
    const names = Array.from({ length: count }, (_, index) => `map-${index}`);
    for (let start = 0; start < count; start += 50)
      await Promise.all(
        names
          .slice(start, start + 50)
          .map((name) => this.#send('POST', `/api/v1/namespaces/${namespace}/configmaps`, { metadata: { name } })),
      );
  }

  async #putPod(below: string, namespace: string, { metadata, spec, status }: Pod): Promise<void> {
    const owners = (metadata.ownerReferences ?? []).map((each) => ({ ...each, uid: randomUUID() }));
    await this.#send('POST', `${below}/pods`, { metadata: { ...metadata, namespace, ownerReferences: owners }, spec });
    const of = (kind: string): object => {
      const all = status[kind] as { name: string }[] | undefined;
      return all ? { [kind]: all.map((each) => ({ image: 'i', imageID: '', ...each })) } : {};
    };
    const { phase, reason, message } = status;
    const seen = { phase, reason, message, ...of('containerStatuses'), ...of('initContainerStatuses') };
    await this.#send('PATCH', `${below}/pods/${metadata.name}/status`, { status: seen });
  }

  async #putEvent(below: string, namespace: string, event: Event): Promise<void> {
    const { metadata, involvedObject } = event;
    const body = { ...event, metadata: { ...metadata, namespace }, involvedObject: { ...involvedObject, namespace } };
    await this.#send('POST', `${below}/events`, body);
  }

  /** The rights that docs/doctor.md says are needed. The role `view` itself is put together by a controller, out of this one. */
  async #allow(): Promise<void> {
    const roles = '/apis/rbac.authorization.k8s.io/v1';
    const secrets = [{ apiGroups: [''], resources: ['secrets'], verbs: ['get', 'list'] }];
    await this.#send('POST', `${roles}/clusterroles`, { metadata: { name: 'secrets' }, rules: secrets });
    const bindings: [string, string][] = [
      ['doctor', 'system:aggregate-to-view'],
      ['viewer', 'system:aggregate-to-view'],
      ['doctor', 'secrets'],
    ];
    for (const [user, role] of bindings)
      await this.#send('POST', `${roles}/clusterrolebindings`, {
        metadata: { name: `${user}-${role.replaceAll(':', '-')}` },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
      });
    // The server looks at bindings when it hears of them.
    await waitFor('the rights hold', async () => {
      const asked: [string, string][] = [
        [kubeTokens.viewer, 'pods'],
        [kubeTokens.doctor, 'pods'],
        [kubeTokens.doctor, 'secrets'],
      ];
      const answers = await Promise.all(asked.map(([token, kind]) => this.#statusOf(kind, token)));
      return answers.every((status) => status === 200);
    });
  }

  async #statusOf(kind: string, token: string): Promise<number> {
    const url = `${this.#server.url}/api/v1/namespaces/default/${kind}`;
    const answer = await request(url, { headers: { authorization: `Bearer ${token}` }, dispatcher: this.#agent });
    await answer.body.dump();
    return answer.statusCode;
  }

  async #send(method: 'POST' | 'PATCH', path: string, body: object): Promise<void> {
    const type = method === 'PATCH' ? 'application/strategic-merge-patch+json' : 'application/json';
    const answer = await request(`${this.#server.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}`, 'content-type': type },
      body: JSON.stringify(body),
      dispatcher: this.#agent,
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`);
  }
}

/** What is in a manifest. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
}

interface Pod {
  metadata: { name: string; ownerReferences?: object[] };
  spec: object;
  status: Record<string, unknown>;
}

interface Event {
  metadata: object;
  involvedObject: object;
}

async function startEtcd(directory: string): Promise<RealServer> {
  return launch({
    program: 'etcd',
    probe: '/health',
    log: join(directory, 'etcd.log'),
    args: (port) => {
      const url = `http://127.0.0.1:${port}`;
      const peers = ['--listen-peer-urls', 'unix://localhost:0', '--initial-cluster', 'default=http://localhost:2380'];
      const clients = ['--listen-client-urls', url, '--advertise-client-urls', url];
      return ['--data-dir', join(directory, 'etcd'), ...clients, ...peers, '--unsafe-no-fsync', '--log-level', 'error'];
    },
  });
}

async function startServer(directory: string, etcd: RealServer): Promise<RealServer> {
  const key = join(directory, 'accounts.key');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const users = Object.entries(kubeTokens).map(([user, token]) => `${token},${user},${user}`);
  await writeFile(
    join(directory, 'tokens.csv'),
    [`${adminToken},admin,admin,"system:masters"`, ...users, ''].join('\n'),
  );
  return launch({
    program: 'kube-apiserver',
    // Roles are there when the last of its start hooks has ended; anybody may ask for this page.
    probe: '/readyz',
    isHttps: true,
    log: join(directory, 'kube-apiserver.log'),
    args: (port) => [
      `--etcd-servers=${etcd.url}`,
      `--secure-port=${port}`,
      '--bind-address=127.0.0.1',
      '--service-cluster-ip-range=10.0.0.0/24',
      `--cert-dir=${join(directory, 'certs')}`,
      `--token-auth-file=${join(directory, 'tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${key}`,
      `--service-account-signing-key-file=${key}`,
      // The controller that makes accounts does not run.
      '--disable-admission-plugins=ServiceAccount',
      '--endpoint-reconciler-type=none',
    ],
  });
}
