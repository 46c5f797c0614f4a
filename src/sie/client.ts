import { type ErrorPlace, MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';
import { parseJson, z } from '../core/validate.ts';
import { type HttpClient, type HttpResponse, redactUrl } from '../http/client.ts';
import { errorText, retryAfter } from '../http/failure.ts';
import { decodeMsgpack, encodeMsgpack } from './msgpack.ts';

/** A worker as the gateway lists it. */
export interface SieWorker {
  name: string;
  /** Machine profile: `l4`, `cpu`. */
  profile: string;
  healthy: boolean;
  /** Of the GPU; zero is the only sign that there is none. */
  memoryBytes: number;
}

export interface SieHealth {
  configured: string[];
  live: string[];
  workers: SieWorker[];
}

/** One answer of the encode call: a vector, or why there is none yet or never will be. */
export type EncodeAnswer =
  | { kind: 'vector'; values: unknown; dims: number | undefined; timings: Record<string, string> }
  | { kind: 'wait'; reason: string }
  | { kind: 'failed'; error: MirrorError };

const workerSchema = z.looseObject({
  name: z.string().default(''),
  gpu: z.string().nullish(),
  machine_profile: z.string().nullish(),
  healthy: z.boolean().default(false),
  memory_total_bytes: z.number().nullish(),
});
const healthSchema = z.looseObject({
  configured_gpu_types: z.array(z.string()).default([]),
  live_gpu_types: z.array(z.string()).default([]),
  workers: z.array(workerSchema).default([]),
});

/** An upstream time-out of the gateway takes 30 s. */
const longestAnswerMs = 60_000;
const answerLimit = 16 * 1024 * 1024;

/** The part of SIE's HTTP interface that a smoke test needs: a gateway, or a standalone sie-server. */
export class SieClient {
  readonly #http: HttpClient;
  readonly #base: string;
  readonly #token: string | undefined;
  #answerMs = longestAnswerMs;

  constructor(http: HttpClient, base: string, token: string | undefined) {
    this.#http = http;
    this.#base = base.replace(/\/+$/, '');
    this.#token = token;
  }

  /** Bounds each answer from now on: no request may outlive the time that its caller has left. */
  boundAnswers(ms: number): void {
    this.#answerMs = Math.max(1000, Math.min(ms, longestAnswerMs));
  }

  /** Undefined where there is no such page: a standalone sie-server. @throws E_AUTH, E_NETWORK, E_REMOTE */
  async health(): Promise<SieHealth | undefined> {
    const response = await this.#get('/health');
    if (response.status === 404) {
      await response.discard();
      return undefined;
    }
    const health = healthSchema.safeParse(await this.#json(response, '/health'));
    if (!health.success) throw this.#notSie('/health', response);
    const { configured_gpu_types: configured, live_gpu_types: live, workers } = health.data;
    return {
      configured,
      live,
      workers: workers.map((worker) => ({
        name: worker.name,
        profile: worker.gpu ?? worker.machine_profile ?? '',
        healthy: worker.healthy,
        memoryBytes: worker.memory_total_bytes ?? 0,
      })),
    };
  }

  /** The ids of the models that the cluster knows. @throws E_AUTH, E_NETWORK, E_REMOTE */
  async models(): Promise<string[]> {
    const response = await this.#get('/v1/models');
    const document = await this.#json(response, '/v1/models');
    const list = z
      .union([
        z.array(z.unknown()),
        z.looseObject({ models: z.array(z.unknown()) }),
        z.looseObject({ data: z.array(z.unknown()) }),
      ])
      .safeParse(document);
    if (!list.success) throw this.#notSie('/v1/models', response);
    const rows: unknown[] = Array.isArray(list.data)
      ? list.data
      : ((list.data as { models?: unknown[]; data?: unknown[] }).models ??
        (list.data as { data?: unknown[] }).data ??
        []);
    return rows.flatMap((row) => (typeof row === 'string' ? [row] : idOf(row)));
  }

  /**
   * Encodes one text, once. Only what a later try can change comes back as `wait`.
   * @param profile machine profile wanted, or undefined for any
   */
  async encode(model: string, text: string, profile: string | undefined, signal?: AbortSignal): Promise<EncodeAnswer> {
    const at = this.#place(`/v1/encode/${model}`);
    const headers: Record<string, string> = {
      ...this.#authorization(),
      'content-type': 'application/x-msgpack',
      accept: 'application/x-msgpack, application/msgpack',
      // A release that can hand work to other clusters must not do so here: this cluster is what is being proven.
      'x-sie-remote': 'forbid',
    };
    if (profile !== undefined) headers['x-sie-machine-profile'] = profile;
    let response: HttpResponse;
    try {
      // The path is taken raw: an encoded slash would name another model.
      const url = new URL(`${this.#base}/v1/encode/${model}`);
      const body = encodeMsgpack({ items: [{ text }], params: { output_types: ['dense'] } });
      response = await this.#http.send({ method: 'POST', url, headers, body, at, signal, answerMs: this.#answerMs });
      if (response.status === 200) return await readAnswer(response, at);
    } catch (error) {
      if (error instanceof MirrorError && error.code === 'E_NETWORK') return { kind: 'wait', reason: error.message };
      if (error instanceof MirrorError) return { kind: 'failed', error };
      throw error;
    }
    return classify(response, await errorText(response), model, at);
  }

  async #get(path: string): Promise<HttpResponse> {
    const response = await this.#http.send({
      method: 'GET',
      url: new URL(`${this.#base}${path}`),
      headers: { accept: 'application/json', ...this.#authorization() },
      at: this.#place(path),
      follow: false,
      answerMs: this.#answerMs,
    });
    if (response.status === 401 || response.status === 403) {
      await response.discard();
      throw notAuthorised(response, this.#place(path));
    }
    return response;
  }

  async #json(response: HttpResponse, path: string): Promise<unknown> {
    if (response.status >= 500) {
      await response.discard();
      throw new MirrorError('E_REMOTE', `\`${response.url.host}\` answered ${response.status} at \`${path}\``, {
        at: this.#place(path),
      });
    }
    const type = response.headers['content-type'] ?? '';
    if (response.status !== 200 || !type.startsWith('application/json')) {
      await response.discard();
      throw this.#notSie(path, response);
    }
    return parseJson(await response.bytes(answerLimit), path, 'E_SMOKE');
  }

  #notSie(path: string, response: HttpResponse): MirrorError {
    const found = `${response.status}, \`${response.headers['content-type'] ?? 'no type'}\``;
    const hint =
      'check the address: it has to be that of the SIE gateway, with its port, and no login page or proxy in between';
    return new MirrorError('E_SMOKE', `\`${this.#base}\` does not answer like SIE at \`${path}\` (${found})`, {
      hint,
      at: this.#place(path),
    });
  }

  #authorization(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  #place(path: string): ErrorPlace {
    return { side: 'target', item: path, url: redactUrl(`${this.#base}${path}`) };
  }
}

function idOf(row: unknown): string[] {
  const { name, id, sie_id: sieId } = (row ?? {}) as { name?: unknown; id?: unknown; sie_id?: unknown };
  const found = [name, id, sieId].find((value) => typeof value === 'string');
  return found === undefined ? [] : [found];
}

const itemSchema = z.looseObject({ dense: z.looseObject({ dims: z.number().optional(), values: z.unknown() }) });

async function readAnswer(response: HttpResponse, at: ErrorPlace): Promise<EncodeAnswer> {
  const type = response.headers['content-type'] ?? '';
  const bytes = await response.bytes(answerLimit);
  const place = { ...at, status: response.status };
  const failed = (text: string, hint?: string): EncodeAnswer => ({
    kind: 'failed',
    error: new MirrorError('E_SMOKE', text, hint === undefined ? { at: place } : { hint, at: place }),
  });
  if (!/msgpack|json/.test(type))
    return failed(
      `the answer is \`${printable(type)}\`, msgpack or JSON was wanted`,
      'check that the address is the SIE gateway and not a proxy or a login page',
    );
  const document = type.includes('json') ? parseJson(bytes, 'the answer', 'E_SMOKE') : decodeMsgpack(bytes);
  const items = (document as { items?: unknown } | null)?.items;
  const item = itemSchema.safeParse(Array.isArray(items) ? items[0] : undefined);
  if (!item.success) return failed('the answer has no dense vector');
  const served = response.headers['x-sie-served-by'];
  if (served !== undefined && served !== 'local')
    return failed(`the answer came from \`${printable(served)}\` and not from this cluster`);
  const timings = Object.fromEntries(
    ['x-queue-time', 'x-inference-time', 'x-sie-version', 'x-sie-model-revision'].flatMap((name) =>
      response.headers[name] === undefined ? [] : [[name, response.headers[name]]],
    ),
  );
  return { kind: 'vector', values: item.data.dense.values, dims: item.data.dense.dims, timings };
}

interface ErrorBody {
  status?: string;
  message?: string;
  error?: string | { code?: string; message?: string };
  detail?: { code?: string; message?: string; error_class?: string };
  configured_gpu_types?: string[];
  compatible_bundles?: string[];
  details?: { code?: string; error?: string }[];
}

/** What each answer means: wait, or fail at once because waiting cannot help. */
function classify(response: HttpResponse, text: string, model: string, at: ErrorPlace): EncodeAnswer {
  const { status } = response;
  const body = jsonBody(text);
  const nested = typeof body.error === 'object' ? body.error : undefined;
  const code = response.headers['x-sie-error-code'] ?? nested?.code ?? body.detail?.code ?? '';
  const said = printable(
    nested?.message ?? body.detail?.message ?? body.message ?? (typeof body.error === 'string' ? body.error : ''),
  ).slice(0, 300);
  const place = { ...at, status };
  const fail = (
    message: string,
    hint?: string,
    kind: 'E_SMOKE' | 'E_NOT_FOUND' | 'E_AUTH' = 'E_SMOKE',
  ): EncodeAnswer => ({
    kind: 'failed',
    error: new MirrorError(kind, message, hint === undefined ? { at: place } : { hint, at: place }),
  });
  const listed = (values: string[] | undefined): string =>
    (values ?? []).map((value) => `\`${printable(value)}\``).join(', ') || 'none';

  if (status === 401 || status === 403) return { kind: 'failed', error: notAuthorised(response, at) };
  if (body.status === 'gpu_not_configured')
    return fail(
      `this machine profile is not configured; there are ${listed(body.configured_gpu_types)}`,
      'give one of them with `--gpu`',
    );
  if (status === 202 || code === 'PROVISIONING')
    return { kind: 'wait', reason: 'no worker yet, the cluster is asked to start one' };
  if (code === 'MODEL_LOAD_FAILED')
    return fail(
      `the model does not load (${body.detail?.error_class ?? 'no class given'}): ${said}`,
      'see the logs of the worker; after importing what was missing, restart its pod',
    );
  if (code === 'MODEL_LOADING' || code === 'LORA_LOADING') return { kind: 'wait', reason: 'the model is loading' };
  if (code === 'RESOURCE_EXHAUSTED') return { kind: 'wait', reason: 'the worker is out of memory' };
  if (status === 404)
    return fail(
      `\`${model}\` is not a model of this cluster`,
      'see `GET /v1/models` for the exact ids; they are compared with case',
      'E_NOT_FOUND',
    );
  if (status === 409)
    return fail(
      `the model is served by other SIE bundles: ${listed(body.compatible_bundles)}`,
      'put the SIE bundle before the model: `--model bundle:/ORG/NAME`',
    );
  if (status === 429 || status === 503 || status === 504)
    return { kind: 'wait', reason: said === '' ? `busy (${status})` : said };
  if (body.error === 'all_items_failed')
    return fail(
      `inference failed: ${printable(body.details?.[0]?.error ?? '')} (${printable(body.details?.[0]?.code ?? '')})`,
      'see the logs of the worker',
    );
  if (status >= 300 && status < 400)
    return fail(
      `the address redirects to \`${printable((response.headers['location'] ?? '').split('?')[0] ?? '')}\``,
      'give the address of the gateway itself, not of a login page',
    );
  const wait = retryAfter(response);
  return wait === undefined
    ? fail(`the gateway answered ${status}${said === '' ? '' : `: ${said}`}`)
    : { kind: 'wait', reason: said || `status ${status}` };
}

function jsonBody(text: string): ErrorBody {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

function notAuthorised(response: HttpResponse, at: ErrorPlace): MirrorError {
  return new MirrorError('E_AUTH', `\`${response.url.host}\` refused the token (${response.status})`, {
    hint: 'set SIE_AUTH_TOKEN to a token that may encode; the admin token may not',
    at: { ...at, status: response.status },
  });
}
