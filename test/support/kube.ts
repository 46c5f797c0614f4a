import type { IncomingMessage, ServerResponse } from 'node:http';
import { sendJson, TestServer, type ServerOptions } from './server.ts';

/** Switches of the test API server. */
export interface KubeOptions extends ServerOptions {
  token?: string;
  /** Resources that the caller may not see: `secrets`, `events`, `pods/log`, `pods/proxy`. */
  forbidden?: readonly string[];
  pods?: readonly object[];
  events?: readonly object[];
  secrets?: readonly {
    metadata: { name: string; labels?: Record<string, string> };
    type?: string;
    data?: Record<string, string>;
  }[];
  /** By `POD/CONTAINER`. */
  logs?: Readonly<Record<string, string>>;
  /** What pods answer to `GET /v1/models`, by name. */
  models?: Readonly<Record<string, object>>;
  /** Rows on a page, whatever more is asked for. */
  pageSize?: number;
}

export interface TestKube {
  readonly server: TestServer;
  /** As YAML, with a context `zone` in the namespace `sie`. */
  kubeconfig(): string;
  close(): Promise<void>;
}

const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

/** A Kubernetes API server that knows the read requests of one namespace; anything else fails the test. */
export async function startKube(options: KubeOptions = {}): Promise<TestKube> {
  const server = await TestServer.start((request, response, url) => answer(options, request, response, url), options);
  return {
    server,
    kubeconfig: () =>
      [
        'apiVersion: v1',
        'kind: Config',
        'current-context: zone',
        `clusters: [{name: zone, cluster: {server: "${server.url}"}}]`,
        'contexts: [{name: zone, context: {cluster: zone, user: reader, namespace: sie}}]',
        `users: [{name: reader, user: {${options.token === undefined ? '' : `token: "${options.token}"`}}}]`,
        '',
      ].join('\n'),
    close: () => server.close(),
  };
}

function answer(options: KubeOptions, request: IncomingMessage, response: ServerResponse, url: URL): boolean {
  if (request.method !== 'GET') return false;
  const status = (code: number, reason: string, message: string): true =>
    sendJson(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code });
  const { authorization } = request.headers;
  if (options.token !== undefined && authorization !== `Bearer ${options.token}`)
    return status(401, 'Unauthorized', 'Unauthorized');
  const [, resource = '', name, sub, rest] =
    /^\/api\/v1\/namespaces\/sie\/(pods|events|secrets)(?:\/([^/]+))?(?:\/(log|proxy)(\/.*)?)?$/.exec(url.pathname) ??
    [];
  if (resource === '') return false;
  const kind = sub === undefined ? resource : `${resource}/${sub}`;
  if (options.forbidden?.includes(kind))
    return status(
      403,
      'Forbidden',
      `${kind} is forbidden: User "reader" cannot get resource "${kind}" in API group "" in the namespace "sie"`,
    );
  const gone = (): true => status(404, 'NotFound', `${resource} "${name ?? ''}" not found`);
  if (name === undefined) return sendList(options, request, response, url, resource);
  if (resource === 'secrets' && sub === undefined) {
    const secret = options.secrets?.find(({ metadata }) => metadata.name === name);
    return secret ? sendJson(response, 200, { kind: 'Secret', apiVersion: 'v1', ...secret }) : gone();
  }
  if (sub === 'log') return sendLog(options, response, url, name);
  if (sub !== 'proxy' || rest !== '/v1/models') return false;
  const said = options.models?.[decodeURIComponent(name).replace(/:\d+$/, '')];
  return said ? sendJson(response, 200, said) : status(503, 'ServiceUnavailable', 'no endpoints available');
}

function sendLog(options: KubeOptions, response: ServerResponse, url: URL, pod: string): boolean {
  const known = ['container', 'tailLines', 'limitBytes', 'previous'];
  if ([...url.searchParams.keys()].some((key) => !known.includes(key))) return false;
  const text = options.logs?.[`${pod}/${url.searchParams.get('container') ?? ''}`];
  if (text === undefined)
    return sendJson(response, 400, { kind: 'Status', message: 'container is waiting to start', code: 400 });
  response.writeHead(200, { 'content-type': 'text/plain' }).end(text);
  return true;
}

function sendList(
  options: KubeOptions,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  resource: string,
): boolean {
  const { searchParams } = url;
  if ([...searchParams.keys()].some((key) => !['limit', 'continue', 'labelSelector'].includes(key))) return false;
  const selector = searchParams.get('labelSelector');
  // A list of secrets with their data is what nobody here has reason to ask for.
  const metadataOnly = request.headers.accept === METADATA_ONLY;
  if (resource === 'secrets' && (!metadataOnly || selector !== 'owner=helm')) return false;
  if (resource !== 'secrets' && selector !== null) return false;
  const all: readonly object[] =
    resource === 'pods'
      ? (options.pods ?? [])
      : resource === 'events'
        ? (options.events ?? [])
        : (options.secrets ?? [])
            .filter(({ metadata }) => metadata.labels?.['owner'] === 'helm')
            .map(({ metadata }) => ({ metadata }));
  const start = Number(searchParams.get('continue') ?? 0);
  const end = start + Math.min(Number(searchParams.get('limit') ?? 500), options.pageSize ?? 500);
  const more = end < all.length ? { continue: String(end) } : {};
  return sendJson(response, 200, {
    kind: 'List',
    apiVersion: 'v1',
    metadata: { resourceVersion: '1', ...more },
    items: all.slice(start, end),
  });
}

/** How a pod differs from a worker that runs as it should. */
export interface PodSwitches {
  name?: string;
  container?: string;
  image?: string;
  /** Reason and message of a container that waits. */
  waiting?: { reason: string; message?: string };
  exitCode?: number;
  init?: boolean;
  env?: Readonly<Record<string, string>>;
  args?: readonly string[];
  labels?: Readonly<Record<string, string>>;
  /** Instead of what follows from the others. */
  status?: Readonly<Record<string, unknown>>;
}

/** Environment of a worker that needs nothing from outside. */
export const offlineEnv = {
  HF_HUB_OFFLINE: '1',
  SIE_CLUSTER_CACHE: 's3://models/sie/models',
  SIE_TELEMETRY_DISABLED: '1',
  SIE_POOL: 'l4',
};
export const offlineArgs = ['serve', '--port=8080', '--cluster-cache=$(SIE_CLUSTER_CACHE)'];

/** A pod as the API gives it: a worker that is ready, unless switched otherwise. */
export function pod(switches: PodSwitches = {}): object {
  const {
    name = 'sie-worker-0',
    container = 'worker',
    image = 'registry.zone/sie/sie-server:v0.3.4-cuda12-default',
  } = switches;
  const { waiting, exitCode, init = false } = switches;
  const env = Object.entries(switches.env ?? offlineEnv).map(([key, value]) => ({ name: key, value }));
  const main = { name: container, image, args: switches.args ?? offlineArgs, env };
  const ready = waiting === undefined && exitCode === undefined;
  const state = waiting ? { waiting } : exitCode === undefined ? { running: {} } : { terminated: { exitCode } };
  const status = { name: container, ready, restartCount: 0, state };
  const other = { name: 'app', image: 'registry.zone/sie/app:v1', env: [] };
  return {
    metadata: {
      name,
      namespace: 'sie',
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'StatefulSet', name: name.replace(/-\d+$/, '') }],
      labels: { 'helm.sh/chart': 'sie-cluster-0.3.4', ...switches.labels },
    },
    spec: {
      serviceAccountName: 'sie',
      imagePullSecrets: [{ name: 'regcred' }],
      containers: init ? [other] : [main],
      ...(init ? { initContainers: [main] } : {}),
    },
    status: {
      phase: ready ? 'Running' : 'Pending',
      ...(init ? { initContainerStatuses: [status] } : { containerStatuses: [status] }),
      ...switches.status,
    },
  };
}

/** What the kubelet tells of a pod. */
export function podEvent(name: string, message: string, reason = 'Failed'): object {
  return { metadata: { name: `${name}.1` }, involvedObject: { kind: 'Pod', name }, reason, message, type: 'Warning' };
}

/** The secret that every pod names. */
export function pullSecret(host: string): NonNullable<KubeOptions['secrets']>[number] {
  const config = { auths: { [host]: { auth: Buffer.from('puller:canary-pull-password').toString('base64') } } };
  return {
    metadata: { name: 'regcred' },
    type: 'kubernetes.io/dockerconfigjson',
    data: { '.dockerconfigjson': Buffer.from(JSON.stringify(config)).toString('base64') },
  };
}
