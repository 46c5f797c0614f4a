import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { digestOf } from './digest.ts';
import { Cluster, type GatewayModel, type GatewayWorker } from './sie-cluster.ts';
import { bundleOf, type Dialect, gatewayModel, gatewayModels, health, workerModel } from './sie-health.ts';
import { workerMetrics } from './sie-metrics.ts';
import { Pools } from './sie-pools.ts';
import { jsonAnswer, msgpackAnswer, type EncodedItem } from './sie-wire.ts';
import * as work from './sie-work.ts';
import { readBody, sendJson, TestServer, type ServerOptions } from './server.ts';

/**
 * What is wrong with a vector or the document around it. `null`: `dense` is null. `nan`: the first number, which JSON
 * turns into null. `truncated`: the map of three keys that ends after two, which a partly failed batch gives. `html`: the
 * login page of a proxy, with status 200.
 */
export type Answer = 'good' | 'wrongDim' | 'zeros' | 'nan' | 'null' | 'truncated' | 'html';

/** Switches of the test gateway. */
export interface GatewayOptions extends ServerOptions {
  models: Record<string, GatewayModel>;
  /** Default: one healthy `l4` worker. */
  workers?: readonly GatewayWorker[];
  /** Default: the profiles of the workers. */
  configuredProfiles?: readonly string[];
  /** No worker is there for so many encode requests, or for so long after the first one. */
  provisionFor?: { requests: number } | { ms: number };
  /** Default `0.3`. */
  dialect?: Dialect;
  /** Refuses requests without it. */
  token?: string;
  /** Alone may see pools, and may not encode. */
  adminToken?: string;
  /** Pools that there are from the beginning, with machine profiles. */
  pools?: Record<string, string[]>;
  /** Where a 0.10 gateway says that the work was done; default `local`. */
  servedBy?: string;
  /** Whether a 0.10 gateway names the process that answered. */
  namesInstances?: boolean;
  /** How far the gateway's clock is ahead. */
  clockAheadMs?: number;
  answer?: Answer;
  /** Is a worker itself instead of a gateway. */
  standalone?: boolean;
  /** Which one that is; default the first. */
  itself?: string;
  /** Default: a release that fits the dialect. */
  version?: string;
}

/** A running gateway. */
export interface TestGateway {
  readonly url: string;
  readonly server: TestServer;
  /** Tests may change them while it runs. */
  readonly workers: GatewayWorker[];
  /** Which worker answered which encode request. */
  readonly served: { model: string; worker: string; profile: string }[];
  /** Names of pools whose lease was renewed. */
  readonly renewed: string[];
  /** Names of the pools that there are. */
  pools(): string[];
  /** Ids of the models that are loaded now. */
  loaded(): string[];
  /** Lets one of the workers be asked itself; the gateway lists its address from then on. */
  open(name: string): Promise<TestServer>;
  close(): Promise<void>;
}

const GIB = 2 ** 30;
const DEFAULT_WORKER: GatewayWorker = {
  name: 'worker-l4-0',
  profile: 'l4',
  memoryTotalBytes: 24 * GIB,
  healthy: true,
  bundle: 'default',
};

/** Starts a gateway, or a standalone worker, that answers as the real one does. */
export async function startGateway(options: GatewayOptions): Promise<TestGateway> {
  const cluster = new Cluster(options.models, options.workers ?? [DEFAULT_WORKER], options.configuredProfiles);
  const gateway = new Gateway(cluster, options);
  const server = await TestServer.start((request, response) => gateway.handle(request, response), options);
  const workers: TestServer[] = [];
  return {
    url: server.url,
    server,
    workers: cluster.workers,
    served: gateway.served,
    renewed: gateway.pools.renewed,
    pools: () => cluster.pools(),
    loaded: () => cluster.loaded(),
    open: async (name) => {
      const listed = cluster.workers.find((worker) => worker.name === name);
      if (!listed) throw new Error(`there is no worker ${name}`);
      const { token: _, adminToken: __, ...same } = options;
      const worker = new Gateway(cluster, { ...same, standalone: true, itself: name });
      const opened = await TestServer.start((request, response) => worker.handle(request, response));
      listed.url = opened.url;
      workers.push(opened);
      return opened;
    },
    close: async () => {
      await Promise.all(workers.map((worker) => worker.close()));
      await server.close();
    },
  };
}

class Gateway {
  readonly pools: Pools;
  readonly served: TestGateway['served'] = [];
  readonly #cluster: Cluster;
  readonly #options: GatewayOptions;
  readonly #dialect: Dialect;
  #encodes = 0;
  #firstEncode: number | undefined;

  constructor(cluster: Cluster, options: GatewayOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#dialect = options.dialect ?? '0.3';
    this.pools = new Pools(cluster);
    for (const [name, profiles] of Object.entries(options.pools ?? {})) cluster.addPool(name, profiles);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const version = this.#options.version ?? (this.#dialect === '0.3' ? '0.3.4' : '0.10.1');
    response.setHeader('x-sie-version', version);
    response.setHeader('x-sie-server-version', version);
    const { clockAheadMs } = this.#options;
    if (clockAheadMs !== undefined) response.setHeader('date', new Date(Date.now() + clockAheadMs).toUTCString());
    // The raw path: the real one does not decode it, so `%2F` is no slash.
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    if (request.method === 'GET' && this.#answerProbe(response, path)) return true;
    const isPools = /^\/v1\/pools(?:\/|$)/.test(path) && !this.#options.standalone;
    if (!this.#isAllowed(request, response, isPools)) return true;
    if (isPools) return this.pools.handle(request, response, path);
    if (request.method === 'POST' && path === '/v1/embeddings') return this.#embeddings(request, response);
    const [, kind, target = ''] = /^\/v1\/(encode|score|extract)(?:\/(.*))?$/.exec(path) ?? [];
    if (request.method === 'POST' && kind !== undefined) {
      return this.#work(kind as work.WorkKind, target, request, response, await readBody(request));
    }
    return request.method === 'GET' && this.#answerGet(response, path);
  }

  #answerProbe(response: ServerResponse, path: string): boolean {
    const isProbe = path === '/healthz' || path === '/readyz' || (path === '/livez' && this.#dialect === '0.10');
    if (!isProbe) return false;
    if (!this.#options.standalone) return sendJson(response, 200, { status: path === '/readyz' ? 'ready' : 'ok' });
    response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
    return true;
  }

  #isAllowed(request: IncomingMessage, response: ServerResponse, isPools: boolean): boolean {
    const { token, adminToken } = this.#options;
    const given = request.headers.authorization?.replace(/^Bearer /, '');
    if (token === undefined) return true;
    const isAdmin = isPools && request.method !== 'GET';
    if (given !== undefined && given === (isAdmin ? adminToken : token)) return true;
    request.resume();
    if (given === undefined) sendJson(response, 401, { message: 'Missing Authorization header' });
    else if (!isAdmin) sendJson(response, 401, { message: 'Invalid token' });
    else
      sendJson(response, 403, { message: `Admin token ${adminToken === undefined ? 'not configured' : 'required'}` });
    return false;
  }

  #answerGet(response: ServerResponse, path: string): boolean {
    const { standalone } = this.#options;
    const cluster = this.#cluster;
    const ids = Object.keys(cluster.models);
    const ofWorker = (id: string): unknown => workerModel(cluster, id, this.#dialect, processOf(this.#itself()));
    if (path === '/health') {
      if (standalone) return sendJson(response, 404, { detail: 'Not Found' });
      return sendJson(response, 200, health(cluster, this.#dialect, this.#isProvisioning()));
    }
    if (path === '/metrics' && standalone) return this.#metrics(response);
    if (path === '/v1/models')
      return sendJson(
        response,
        200,
        standalone ? { models: ids.map(ofWorker) } : gatewayModels(cluster, this.#dialect),
      );
    if (!path.startsWith('/v1/models/')) return false;
    const id = path.slice('/v1/models/'.length);
    const detail = { code: 'MODEL_NOT_FOUND', message: `Model '${id}' not found` };
    if (!ids.includes(id))
      return sendJson(response, 404, this.#dialect === '0.3' && !standalone ? { message: detail.message } : { detail });
    return sendJson(response, 200, standalone ? ofWorker(id) : gatewayModel(cluster, id, this.#dialect));
  }

  /** Newer releases send their counters to a collector instead. */
  #metrics(response: ServerResponse): true {
    if (this.#dialect === '0.10') return sendJson(response, 404, { detail: 'Not Found' });
    const body = Buffer.from(workerMetrics(this.#cluster, this.#itself()));
    return send(response, 'text/plain; version=0.0.4; charset=utf-8', body);
  }

  /** The worker that a standalone one is. */
  #itself(): GatewayWorker {
    const { itself } = this.#options;
    const { workers } = this.#cluster;
    return workers.find(({ name }) => name === itself) ?? workers[0] ?? DEFAULT_WORKER;
  }

  /** Gateways of 0.3 do not know the OpenAI routes, workers do. */
  async #embeddings(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const body = await readBody(request);
    if (!this.#options.standalone && this.#dialect === '0.3') return notFound(response);
    return this.#work('embeddings', work.openaiModel(body), request, response, body);
  }

  #work(
    kind: work.WorkKind,
    target: string,
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer,
  ): boolean {
    const pool = header(request, 'x-sie-pool');
    const isUp = pool === undefined || this.#cluster.assigned(pool)?.some((worker) => worker.healthy);
    if (!isUp || header(request, 'x-sie-machine-profile')?.includes('/')) {
      // It works, and ruins the pool's queue for the worker that comes later: no client of ours may do it.
      return false;
    }
    if (target === '') return notFound(response);
    if (this.#options.standalone && this.#isMisdirected(request, response)) return true;
    const prefixed = /^([^/:]+):\/(.+)$/.exec(target);
    const id = prefixed?.[2] ?? target;
    const found = this.#cluster.find(id);
    if (!found) return this.#unknownModel(response, id);
    const bundle = bundleOf(found.model);
    if (prefixed && prefixed[1] !== bundle) {
      const message = `Model '${id}' is not in bundle '${prefixed[1]}'`;
      return sendJson(response, 409, { compatible_bundles: [bundle], message });
    }
    const asked = work.readAsked(kind, request, body);
    if (!asked) return this.#fail(response, 400, 'INVALID_INPUT', 'items must be a list with text');
    const worker = this.#route(request, response, bundle, pool);
    if (!worker) return true;
    this.#cluster.ask(id);
    const wasSeen = this.served.some((item) => item.model === id);
    this.served.push({ model: id, worker: worker.name, profile: worker.profile });
    if (this.#cluster.state(id) !== 'loaded') return this.#notLoaded(response, id, found.loads, wasSeen);
    this.#cluster.serve(id, worker, this.#options.standalone === true ? 'itself' : 'queue');
    return this.#sendAnswer(kind, request, response, { id, model: found.model, asked, worker });
  }

  /** Picks the worker, or answers for want of one. */
  #route(
    request: IncomingMessage,
    response: ServerResponse,
    bundle: string,
    pool: string | undefined,
  ): GatewayWorker | undefined {
    const profile = header(request, 'x-sie-machine-profile');
    if (this.#options.standalone) return this.#itself();
    const routing = this.#cluster.route(bundle, profile, pool);
    if (routing.kind === 'unconfigured') {
      sendJson(response, 503, {
        status: 'gpu_not_configured',
        gpu: profile,
        configured_gpu_types: routing.configured,
        message: `GPU type '${profile}' is not configured in this cluster`,
      });
      return undefined;
    }
    const isProvisioning = this.#isProvisioning();
    this.#encodes += 1;
    this.#firstEncode ??= Date.now();
    if (routing.kind === 'worker' && !isProvisioning) return routing.worker;
    this.#provision(response, profile ?? 'any', bundle);
    return undefined;
  }

  /** A worker compares the profile before it looks at anything else, and names its own. */
  #isMisdirected(request: IncomingMessage, response: ServerResponse): boolean {
    const wanted = header(request, 'x-sie-machine-profile');
    const { profile, hidesProfile } = this.#itself();
    if (wanted === undefined || wanted.toLowerCase() === profile) return false;
    const named = { requested_profile: wanted, worker_identity: hidesProfile === true ? null : profile };
    const detail = { code: 'INVALID_INPUT', message: `this worker is ${profile}, not ${wanted}`, ...named };
    return sendJson(response, 400, { detail });
  }

  #isProvisioning(): boolean {
    const { provisionFor } = this.#options;
    if (!provisionFor) return false;
    if ('requests' in provisionFor) return this.#encodes < provisionFor.requests;
    return this.#firstEncode === undefined || Date.now() - this.#firstEncode < provisionFor.ms;
  }

  #provision(response: ServerResponse, gpu: string, bundle: string): void {
    const message = `No worker for ${gpu}; provisioning`;
    const body = { status: 'provisioning', gpu, bundle, estimated_wait_s: 180, message };
    if (this.#dialect === '0.3') {
      sendJson(response, 202, body, { 'retry-after': '120' });
      return;
    }
    this.#fail(response, 503, 'PROVISIONING', message, 120);
  }

  #notLoaded(response: ServerResponse, id: string, loads: boolean, wasSeen: boolean): true {
    if (!this.#options.standalone || loads || !wasSeen) {
      return this.#fail(response, 503, 'MODEL_LOADING', `Model '${id}' is loading`, 5);
    }
    const errorClass = this.#cluster.models[id]?.errorClass ?? 'NOT_FOUND';
    const detail = { code: 'MODEL_LOAD_FAILED', message: `cannot load ${id}`, error_class: errorClass };
    return sendJson(response, 502, { detail: { ...detail, attempts: 1, permanent: true } });
  }

  #unknownModel(response: ServerResponse, id: string): true {
    const message = `Unknown model '${id}'`;
    if (this.#options.standalone) {
      response.writeHead(500, { 'content-type': 'text/plain' }).end('Internal Server Error');
      return true;
    }
    return this.#dialect === '0.3'
      ? sendJson(response, 404, { message })
      : this.#fail(response, 404, 'MODEL_NOT_FOUND', message);
  }

  /** Errors are JSON, whatever the client accepts; a worker puts them under `detail`. */
  #fail(response: ServerResponse, status: number, code: string, message: string, retryAfter?: number): true {
    const headers: Record<string, string> = {};
    if (retryAfter !== undefined) headers['retry-after'] = String(retryAfter);
    if (status === 503) headers['x-sie-error-code'] = code;
    return sendJson(response, status, { [this.#options.standalone ? 'detail' : 'error']: { code, message } }, headers);
  }

  /** A worker says so at once; behind a gateway its inference fails. */
  #refuse(response: ServerResponse, id: string, wanted: string): true {
    const message = `Model '${id}' does not support ${wanted}`;
    if (this.#options.standalone) return this.#fail(response, 400, 'INVALID_INPUT', message);
    const details = [{ item_index: 0, error: message, code: 'inference_error' }];
    return sendJson(response, 500, { error: 'all_items_failed', details });
  }

  #sendAnswer(
    kind: work.WorkKind,
    request: IncomingMessage,
    response: ServerResponse,
    { id, model, asked, worker }: { id: string; model: GatewayModel; asked: work.Asked; worker: GatewayWorker },
  ): true {
    const answer = this.#options.answer ?? 'good';
    const outputs = model.outputs ?? ['dense'];
    const wanted = kind === 'encode' ? (asked.output ?? 'dense') : kind;
    if (wanted !== 'embeddings' && !outputs.includes(wanted)) return this.#refuse(response, id, wanted);
    for (const [name, value] of Object.entries(this.#answerHeaders(model, worker))) response.setHeader(name, value);
    if (answer === 'html') return send(response, 'text/html', Buffer.from('<html><body>Please log in</body></html>'));
    const vector = (text: string): number[] =>
      model.vector?.(text) ?? work.vectorOf(id, text, model.dim, worker.noise ?? 0);
    if (kind === 'embeddings') return sendJson(response, 200, work.openaiAnswer(id, asked, vector));
    const isJson = this.#wantsJson(request);
    if (kind !== 'encode') {
      const make = kind === 'score' ? work.scoreAnswer : work.extractAnswer;
      const value = make(id, asked, answer !== 'good');
      return isJson ? sendJson(response, 200, value) : send(response, this.#msgpackType(), work.toMsgpack(value));
    }
    const items = asked.items.map((item): EncodedItem => {
      // The gateway drops the id of an item, a worker returns it.
      const name = this.#options.standalone && item.id !== undefined ? { id: item.id } : {};
      const dtype = asked.dtype ?? model.dtype ?? '<f4';
      const good = work.encodedItem(asked, dtype, item.text, vector);
      const values = answer === 'null' ? null : spoil(good.values ?? [], answer);
      return { ...name, ...good, values, ...(good.output === 'dense' ? { dims: values?.length ?? 0 } : {}) };
    });
    if (isJson) {
      const body = jsonAnswer(id, items);
      return send(response, 'application/json', answer === 'truncated' ? body.subarray(0, body.length / 2) : body);
    }
    return send(response, this.#msgpackType(), msgpackAnswer(id, items, answer === 'truncated' ? 3 : 2));
  }

  #wantsJson(request: IncomingMessage): boolean {
    const accept = request.headers.accept ?? '';
    return this.#options.standalone ? accept.includes('application/json') : !/application\/(?:x-)?msgpack/.test(accept);
  }

  #msgpackType(): string {
    return this.#options.standalone ? 'application/msgpack' : 'application/x-msgpack';
  }

  #answerHeaders(model: GatewayModel, worker: GatewayWorker): Record<string, string> {
    if (this.#options.standalone) {
      const signed = { 'x-sie-served-by': 'local', 'x-sie-runtime-instance': processOf(worker) };
      return this.#dialect === '0.10' ? signed : {};
    }
    const requestId = randomUUID();
    const newer: Record<string, string> = { 'x-sie-served-by': this.#options.servedBy ?? 'local' };
    if (this.#options.namesInstances === true) newer['x-sie-runtime-instance'] = processOf(worker);
    if (model.revision) newer['x-sie-model-revision'] = model.revision;
    return {
      'x-sie-request-id': requestId,
      'x-sie-worker': `queue:${requestId}`,
      'x-queue-publish-time': '0.1',
      'x-queue-time': '0.2',
      'x-inference-time': '1.5',
      ...(this.#dialect === '0.10' ? newer : {}),
    };
  }
}

/** As `X-SIE-Runtime-Instance` names the process of a worker. */
function processOf({ name }: GatewayWorker): string {
  return digestOf(Buffer.from(name)).replace('sha256:', '');
}

function spoil(numbers: number[], answer: Answer): number[] {
  if (answer === 'wrongDim') return numbers.slice(1);
  if (answer === 'zeros') return numbers.map(() => 0);
  return answer === 'nan' ? numbers.with(0, Number.NaN) : numbers;
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

function send(response: ServerResponse, type: string, body: Uint8Array): true {
  response.writeHead(200, { 'content-type': type, 'content-length': String(body.length) }).end(body);
  return true;
}

function notFound(response: ServerResponse): true {
  response.writeHead(404, { 'content-length': '0' }).end();
  return true;
}
