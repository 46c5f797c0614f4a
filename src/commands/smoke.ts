import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorError, placeError, toMirrorError } from '../core/errors.ts';
import { makeReport, type Report } from '../core/report.ts';
import { SieClient, type SieHealth, type SieWorker } from '../sie/client.ts';
import { checkVector } from '../sie/vector.ts';
import { type Context, hasPassword } from './context.ts';

export interface SmokeOptions {
  url: string;
  /** Exact id, maybe with a SIE bundle before it: `default:/BAAI/bge-m3`. */
  model: string;
  /** Machine profile that has to answer: `l4`. */
  gpu?: string | undefined;
  /** Dimensions that the vector must have. */
  dim?: number | undefined;
  /** In seconds. */
  timeout: number;
  text?: string | undefined;
}

/** How often a busy cluster is asked; its own Retry-After is far longer than it takes. */
const pollMs = 2000;

/** Encodes a text on the deployed cluster, and says which GPU profile answered. */
export async function smoke(options: SmokeOptions, context: Context): Promise<Report> {
  if (!/^https?:\/\//.test(options.url) || !URL.canParse(options.url))
    throw new MirrorError('E_USAGE', `\`${options.url}\` is no address`, {
      hint: 'write it as `http://HOST:PORT` or `https://HOST`',
    });
  if (hasPassword(options.url))
    throw new MirrorError('E_USAGE', 'the address holds a password', { hint: 'take it out, and set SIE_AUTH_TOKEN' });
  const client = new SieClient(context.http, options.url, context.env['SIE_AUTH_TOKEN']?.trim() || undefined);
  const run = new SmokeRun(client, options, context);
  const { vector, seconds, timings, worker } = await run.run();
  const answered = worker === undefined ? '' : `, by machine profile ${worker}`;
  const detail = {
    url: options.url,
    gpu: options.gpu,
    dims: vector.length,
    seconds,
    timings,
    first: vector.slice(0, 4),
  };
  return makeReport('smoke', [{ kind: 'model', name: options.model, state: 'done', detail }], { seconds }, [
    `${options.model}: a vector of ${vector.length} dimensions after ${seconds.toFixed(1)} s${answered}`,
    'GOOD: the cluster answers',
  ]);
}

interface Outcome {
  vector: number[];
  seconds: number;
  timings: Record<string, string>;
  worker: string | undefined;
}

class SmokeRun {
  readonly #client: SieClient;
  readonly #options: SmokeOptions;
  readonly #context: Context;
  readonly #start = Date.now();
  #waitingFor = '';

  constructor(client: SieClient, options: SmokeOptions, context: Context) {
    this.#client = client;
    this.#options = options;
    this.#context = context;
  }

  async run(): Promise<Outcome> {
    const { model, gpu, text = 'hello world' } = this.#options;
    this.#context.report({ type: 'stage', text: `asking ${this.#options.url} for ${model}` });
    this.#client.boundAnswers(this.#left());
    const health = await this.#patiently(() => this.#client.health());
    this.#checkProfile(health);
    checkModel(model, await this.#patiently(() => this.#client.models()));
    for (;;) {
      this.#client.boundAnswers(this.#left());
      const before =
        gpu === undefined ? true : liveGpu(await this.#patiently(() => this.#client.health()), gpu) !== undefined;
      const answer = await this.#client.encode(model, text, gpu, this.#context.signal);
      if (answer.kind === 'failed') throw placeError(answer.error, { item: model });
      if (answer.kind === 'wait') {
        await this.#wait(answer.reason);
        continue;
      }
      const vector = this.#checked(answer.values, answer.dims);
      const worker =
        gpu === undefined ? undefined : this.#provenBy(await this.#patiently(() => this.#client.health()), gpu);
      // A worker that came up between question and answer may not be the one that answered: ask once more.
      if (before) return { vector, seconds: (Date.now() - this.#start) / 1000, timings: answer.timings, worker };
    }
  }

  #checked(values: unknown, dims: number | undefined): number[] {
    try {
      return checkVector(values, dims, this.#options.dim);
    } catch (error) {
      throw placeError(error, { side: 'target', item: this.#options.model });
    }
  }

  #checkProfile(health: SieHealth | undefined): void {
    const { gpu } = this.#options;
    if (gpu === undefined) return;
    if (!health)
      throw new MirrorError(
        'E_SMOKE',
        `\`${this.#options.url}\` is a worker of its own and no gateway: it does not say what GPU it has`,
        { hint: 'give the address of the gateway, or leave out `--gpu`' },
      );
    const configured = new Set([...health.configured, ...health.live].map((name) => name.toLowerCase()));
    const wanted = gpu.toLowerCase();
    if (!configured.has(wanted) && !configured.has(`${wanted}-spot`))
      throw new MirrorError(
        'E_SMOKE',
        `the machine profile \`${gpu}\` is not configured; there are ${[...configured].map((name) => `\`${name}\``).join(', ') || 'none'}`,
        { hint: 'give one of them with `--gpu`' },
      );
  }

  /** @throws E_SMOKE when no live worker of the profile can have answered */
  #provenBy(health: SieHealth | undefined, gpu: string): string {
    const worker = health && liveGpu(health, gpu);
    if (health && worker !== undefined) {
      this.#nameOthers(health, gpu);
      return worker;
    }
    const live =
      health?.workers
        .filter(({ healthy }) => healthy)
        .map(
          ({ name, profile, memoryBytes }) => `\`${name}\` (${profile}${memoryBytes > 0 ? '' : ', no GPU memory'})`,
        ) ?? [];
    throw new MirrorError(
      'E_SMOKE',
      `a vector came, but not from a GPU of the machine profile \`${gpu}\`: the live workers are ${live.join(', ') || 'none'}`,
      {
        hint: 'the gateway hands work to any worker when none of the wanted profile is healthy: see why the pods of that pool do not run',
        at: { side: 'target', item: this.#options.model },
      },
    );
  }

  /** No answer names its worker, and workers that share a pool share its work. */
  #nameOthers(health: SieHealth, gpu: string): void {
    const others = health.workers
      .filter((worker) => worker.healthy && !isOf(worker, gpu))
      .map(({ name, profile }) => `\`${name}\` (${profile})`);
    if (others.length > 0)
      this.#context.report({
        type: 'warning',
        text: `${others.join(', ')} could have answered too if in the same pool as the ${gpu} workers: the chart gives each pool its own name`,
      });
  }

  /** Work that a gateway which is only starting up may refuse for a while. */
  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const known = toMirrorError(error);
        if (!known.retryable) throw known;
        await this.#wait(known.message, known);
      }
    }
  }

  #left(): number {
    return this.#start + this.#options.timeout * 1000 - Date.now();
  }

  /** @throws E_SMOKE when the time is up, saying what was waited for */
  async #wait(reason: string, error?: MirrorError): Promise<void> {
    const left = this.#left();
    if (left <= 0) {
      if (error) throw error;
      const hint =
        'see the pods of the worker pool and their events; a model that stays "loading" usually misses a file or does not fit: see the logs of the worker';
      throw new MirrorError('E_SMOKE', `no vector within ${this.#options.timeout} s; the last answer was: ${reason}`, {
        hint,
        at: { side: 'target', item: this.#options.model },
      });
    }
    if (reason !== this.#waitingFor) this.#context.report({ type: 'note', text: `waiting: ${reason}` });
    this.#waitingFor = reason;
    await sleep(Math.min(pollMs, left), undefined, { signal: this.#context.signal });
  }
}

/** The profile of a live worker that has a GPU. */
function liveGpu(health: SieHealth | undefined, gpu: string): string | undefined {
  return health?.workers.find((worker) => worker.healthy && isOf(worker, gpu))?.profile;
}

/** The gateway compares without case and takes spot machines for a profile too; GPU memory is the only sign of a GPU. */
function isOf({ profile, memoryBytes }: SieWorker, gpu: string): boolean {
  return memoryBytes > 0 && [gpu.toLowerCase(), `${gpu.toLowerCase()}-spot`].includes(profile.toLowerCase());
}

/** @throws E_NOT_FOUND for an id that the cluster does not list exactly: a wrong case would "load" for ever */
function checkModel(model: string, known: readonly string[]): void {
  const id = model.replace(/^[\w.-]+:\//, '');
  if (known.includes(id)) return;
  const near = known.find((name) => name.toLowerCase() === id.toLowerCase());
  const listed = known.slice(0, 10).map((name) => `\`${name}\``);
  const hint =
    near === undefined
      ? `it knows ${listed.join(', ') || 'none'}${known.length > 10 ? ', ...' : ''}`
      : `did you mean \`${near}\`?`;
  throw new MirrorError('E_NOT_FOUND', `the cluster knows no model \`${id}\``, {
    hint,
    at: { side: 'target', item: id },
  });
}
