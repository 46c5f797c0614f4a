import { type ErrorPlace, MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';
import { type HttpClient, type HttpRequest, type HttpResponse, redactUrl } from '../http/client.ts';
import { errorText, failure } from '../http/failure.ts';
import { bounded, readAnswer, readJson, type SieAnswer } from './answer.ts';
import type { SieCall } from './calls.ts';
import {
  addressHint,
  isUnknownHost,
  noTokens,
  notAuthorised,
  readFault,
  redirection,
  redirectionHint,
  schemeFault,
  withHint,
} from './faults.ts';
import { parseHealth, type SieHealth } from './health.ts';
import { parseModel, parseModels, type SieModel } from './models.ts';
import { encodeMsgpack } from './msgpack.ts';
import { nobodysProfile, readOwnProfile } from './own-profile.ts';
import { parsePool, type SiePool } from './pools.ts';
import { withoutSecrets } from './secrets.ts';

export interface Routing {
  /** Machine profile wanted. */
  profile?: string | undefined;
  /** Never name a pool whose worker is not up yet: the gateway would create its queue in a form that the worker cannot use. */
  pool?: string | undefined;
  format: 'msgpack' | 'json';
}

export interface SieTokens {
  token: string | undefined;
  /** For making, renewing and removing pools; that of `token` when undefined. Reading takes that one only. */
  adminToken?: string | undefined;
  /** Tokens that are not sent, and must not turn up in what is read either. */
  hidden?: readonly string[];
}

/** An upstream time-out of the gateway takes 30 s. */
const longestAnswerMs = 60_000;
/** The part of SIE's HTTP interface that proofs need: of a gateway, or of a standalone sie-server. */
export class SieClient {
  readonly #http: HttpClient;
  readonly #base: string;
  readonly #tokens: SieTokens;
  #answerMs = longestAnswerMs;

  constructor(http: HttpClient, base: string, tokens: SieTokens) {
    this.#http = http;
    this.#base = base.replace(/\/+$/, '');
    this.#tokens = tokens;
  }

  /** Bounds each answer from now on, body included: no request may outlive the time that its caller has left. */
  boundAnswers(ms: number): void {
    this.#answerMs = Math.ceil(Math.max(1000, Math.min(ms, longestAnswerMs)));
  }

  /** Undefined where there is no such page: a standalone sie-server. @throws E_AUTH, E_NETWORK, E_REMOTE, E_SMOKE */
  async health(): Promise<SieHealth | undefined> {
    const found = await this.#document('/health');
    if (found === undefined) return undefined;
    return parseHealth(found.document) ?? this.#notSie('/health', found.response);
  }

  /** The models that the cluster knows. @throws E_AUTH, E_NETWORK, E_REMOTE, E_SMOKE */
  async models(): Promise<SieModel[]> {
    const found = await this.#document('/v1/models');
    if (found === undefined)
      throw new MirrorError('E_SMOKE', `\`${this.#base}\` has no \`/v1/models\``, {
        hint: addressHint,
        at: this.#place('/v1/models'),
      });
    return parseModels(found.document) ?? this.#notSie('/v1/models', found.response);
  }

  /** One model; undefined when the cluster does not know it. @throws as `models` */
  async model(id: string): Promise<SieModel | undefined> {
    return parseModel((await this.#document(`/v1/models/${id}`))?.document);
  }

  /** The counters of a worker; undefined where there are none to read. @throws E_AUTH, E_NETWORK, E_REMOTE, E_SMOKE */
  async metrics(): Promise<string | undefined> {
    const found = await this.#get('/metrics', 'text/plain');
    return found && (await bounded(found, this.#place('/metrics'))).toString();
  }

  /**
   * The machine profile that a worker says it is of, as its SIE_MACHINE_PROFILE or its GPU has it; empty when it has neither,
   * undefined when it does not say. Nothing is loaded or computed for that. @throws E_NETWORK
   */
  async ownProfile(model: string): Promise<string | undefined> {
    const response = await this.#send('POST', `/v1/encode/${model}`, {
      headers: {
        ...authorization(this.#tokens.token),
        'content-type': 'application/json',
        accept: 'application/json',
        'x-sie-machine-profile': nobodysProfile,
        'x-sie-remote': 'forbid',
      },
      body: JSON.stringify({ items: [] }),
    });
    return readOwnProfile(await errorText(response));
  }

  /** Undefined when there is none of this name. @throws as `models` */
  async pool(name: string): Promise<SiePool | undefined> {
    const found = await this.#document(`/v1/pools/${name}`);
    return found && (parsePool(found.document) ?? this.#notSie(`/v1/pools/${name}`, found.response));
  }

  /** @param gpus how many workers of each machine profile @throws E_AUTH, E_REFUSED, E_NETWORK, E_REMOTE */
  async createPool(name: string, gpus: Record<string, number>): Promise<void> {
    await this.#poolRequest('POST', '/v1/pools', { name, gpus });
  }

  /** A lease that is not renewed ends after some minutes, and the pool with it. @throws as `createPool` */
  async renewPool(name: string): Promise<void> {
    await this.#poolRequest('POST', `/v1/pools/${name}/renew`);
  }

  /** Is sent even by a run that was stopped. @throws as `createPool` */
  async deletePool(name: string): Promise<void> {
    await this.#poolRequest('DELETE', `/v1/pools/${name}`);
  }

  /** Asks for work, once. Only what a later try can change comes back as `wait`. */
  async ask(call: SieCall, routing: Routing): Promise<SieAnswer> {
    const at = this.#place(call.path);
    const json = call.jsonOnly === true || routing.format === 'json';
    const headers: Record<string, string> = {
      ...authorization(this.#tokens.token),
      'content-type': json ? 'application/json' : 'application/x-msgpack',
      accept: json ? 'application/json' : 'application/x-msgpack, application/msgpack',
      // A release that can hand work to other clusters must not do so here: this cluster is what is being proven.
      'x-sie-remote': 'forbid',
    };
    if (routing.profile !== undefined) headers['x-sie-machine-profile'] = routing.profile;
    if (routing.pool !== undefined) headers['x-sie-pool'] = routing.pool;
    const body = json ? JSON.stringify(call.body) : encodeMsgpack(call.body);
    try {
      const response = await this.#send('POST', call.path, { headers, body });
      if (response.status === 200) return await readAnswer(response, at);
      const hasToken = this.#tokens.token !== undefined;
      return readFault(response, await errorText(response), { call, place: at, hasToken });
    } catch (error) {
      if (!(error instanceof MirrorError)) throw error;
      if (error.code === 'E_NETWORK' && !isUnknownHost(error))
        return { kind: 'wait', phase: 'gateway', reason: error.message };
      return { kind: 'failed', error };
    }
  }

  #admin(): string | undefined {
    return this.#tokens.adminToken ?? this.#tokens.token;
  }

  /** The time for the answer holds for its body too: one that trickles in is none. */
  async #send(
    method: HttpRequest['method'],
    path: string,
    request: Pick<HttpRequest, 'headers' | 'body' | 'outlivesStop'>,
  ): Promise<HttpResponse> {
    // The path is taken raw: an encoded slash would name another model.
    const url = new URL(`${this.#base}${path}`);
    const late = new AbortController();
    const seconds = Math.round(this.#answerMs / 1000);
    const error = new MirrorError('E_NETWORK', `\`${url.host}\`: no whole answer within ${seconds} s`, {
      hint: 'see the logs of the gateway, and what stands between it and this machine',
    });
    setTimeout(() => late.abort(error), this.#answerMs).unref();
    const response = await this.#http
      .send({
        ...request,
        method,
        url,
        at: this.#place(path),
        follow: false,
        answerMs: this.#answerMs,
        signal: late.signal,
      })
      .catch((failed: unknown) => Promise.reject(schemeFault(failed, url)));
    const { token, adminToken, hidden = [] } = this.#tokens;
    return withoutSecrets(response, [token ?? '', adminToken ?? '', ...hidden]);
  }

  /** Undefined for 404. */
  async #document(path: string): Promise<{ document: unknown; response: HttpResponse } | undefined> {
    const response = await this.#get(path, 'application/json');
    if (response === undefined) return undefined;
    const bytes = await bounded(response, this.#place(path));
    return { document: readJson(bytes, path), response };
  }

  /** A page of this type, whose body has to be read; undefined for 404. */
  async #get(path: string, wanted: string): Promise<HttpResponse | undefined> {
    const headers = { accept: wanted, ...authorization(this.#tokens.token) };
    const response = await this.#send('GET', path, { headers });
    if (response.status === 404) {
      await response.discard();
      return undefined;
    }
    if (response.status === 401 || response.status === 403) {
      await response.discard();
      throw notAuthorised(response, this.#place(path), this.#tokens.token !== undefined);
    }
    if (response.status >= 500) throw await this.#broken(response, path);
    const type = response.headers['content-type'] ?? '';
    if (response.status === 200 && type.startsWith(wanted)) return response;
    await response.discard();
    return this.#notSie(path, response);
  }

  async #broken(response: HttpResponse, path: string): Promise<MirrorError> {
    const found = await failure(response, this.#place(path));
    const said = found.message.replace(/^[^:]*:\d+` answered \d+:? ?/, '');
    return response.status === 500 && /\bauth|\btoken/i.test(said)
      ? noTokens(response, said, this.#place(path))
      : withHint(found, 'see the pods of the gateway and their logs, and what stands before it');
  }

  async #poolRequest(method: 'POST' | 'DELETE', path: string, value?: unknown): Promise<void> {
    const headers = { accept: 'application/json', 'content-type': 'application/json', ...authorization(this.#admin()) };
    const response = await this.#send(method, path, {
      headers,
      ...(value === undefined ? {} : { body: JSON.stringify(value) }),
      outlivesStop: method === 'DELETE',
    });
    if (response.status === 401 || response.status === 403) {
      await response.discard();
      throw this.#noPools(response, path);
    }
    if (response.status >= 300 && !(method === 'DELETE' && response.status === 404))
      throw await failure(response, this.#place(path));
    await response.discard();
  }

  #noPools(response: HttpResponse, path: string): MirrorError {
    return new MirrorError(
      'E_AUTH',
      `\`${response.url.host}\` does not let this token make or remove pools (${response.status})`,
      {
        hint: 'set SIE_ADMIN_TOKEN to the admin token as well: making pools needs it, and it cannot encode',
        at: { ...this.#place(path), status: response.status },
      },
    );
  }

  #notSie(path: string, response: HttpResponse): never {
    const { status, headers } = response;
    const found = `${status}, \`${printable(headers['content-type'] ?? 'no type')}\``;
    const redirects = status >= 300 && status < 400;
    throw new MirrorError(
      'E_SMOKE',
      redirects
        ? redirection(headers['location'])
        : `\`${this.#base}\` does not answer like SIE at \`${path}\` (${found})`,
      { hint: redirects ? redirectionHint : addressHint, at: { ...this.#place(path), status } },
    );
  }

  #place(path: string): ErrorPlace {
    return { side: 'target', item: path, url: redactUrl(`${this.#base}${path}`) };
  }
}

function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}
