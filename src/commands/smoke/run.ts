import { MirrorError, placeError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import type { SieCall } from '../../sie/calls.ts';
import type { AnswerFacts, SieClient } from '../../sie/client.ts';
import type { OutputType } from '../../sie/embedding.ts';
import { loadFailure, type WaitPhase } from '../../sie/faults.ts';
import { isOfProfile, type SieHealth } from '../../sie/health.ts';
import { plainModelId, type SieModel } from '../../sie/models.ts';
import type { Context } from '../context.ts';
import { type Clock, Patience } from './patience.ts';
import { enoughRequests, type Proof, prove, rivals, type Sighting, wantedWorkers } from './proof.ts';
import { kindOf, makeTrial, type Trial, type TrialKind, type TrialResult } from './trial.ts';

/** One model on one machine profile. */
export interface RunOptions {
  url: string;
  /** Exact id, maybe with a SIE bundle before it: `default:/BAAI/bge-m3`. */
  model: string;
  /** By the outputs of the model when undefined. */
  kind: TrialKind | undefined;
  gpu: string | undefined;
  pool: string | undefined;
  output: OutputType | undefined;
  dim: number | undefined;
  dtype: string | undefined;
  format: 'msgpack' | 'json';
  /** In seconds. */
  timeout: number;
  clock: Clock | undefined;
  /** Commit of the weights that must answer. */
  revision: string | undefined;
}

/** In seconds; what the release does not tell is left out. */
export interface Times {
  total: number;
  /** Until a worker was there. */
  coldStart: number;
  /** Until the model was loaded. */
  load: number;
  queue?: number;
  inference?: number;
}

export interface RunResult {
  trial: TrialResult;
  times: Times;
  proof: Proof | undefined;
  /** What the answers named; undefined when the release names none. */
  revision: string | undefined;
  version: string | undefined;
}

/** What the gateway knows of a worker's models may be some seconds old. */
const statusAgeMs = 6000;
const clockToleranceMs = 5 * 60_000;

/** Waits for a model to answer, and proves who answered and that the answers make sense. */
export class SmokeRun {
  readonly #client: SieClient;
  readonly #options: RunOptions;
  readonly #context: Context;
  readonly #patience: Patience;
  readonly #id: string;
  #pool: readonly string[] | undefined;
  #facts: AnswerFacts = {};

  constructor(client: SieClient, options: RunOptions, context: Context) {
    this.#client = client;
    this.#options = options;
    this.#context = context;
    this.#id = plainModelId(options.model);
    const { timeout, model, clock } = options;
    this.#patience = new Patience(timeout, model, context.report, context.signal, clock);
  }

  /** @throws E_SMOKE, E_NOT_FOUND, E_AUTH, and E_NETWORK or E_REMOTE for a gateway that was never reached */
  async run(): Promise<RunResult> {
    const { model, gpu, kind, output, dim, dtype } = this.#options;
    try {
      const health = await this.#look();
      if (gpu !== undefined) checkProfile(health, gpu, this.#options.url);
      const known = checkModel(this.#id, await this.#patiently(() => this.#client.models()));
      this.#checkRevision(known.revision);
      const trial = makeTrial({ kind: kind ?? kindOf(known), model, output, dim, dtype }, known);
      const [first] = trial.calls;
      if (!first) throw new MirrorError('E_INTERNAL', 'nothing to ask');
      await this.#answer(first);
      await this.#awaitPool(first);
      const { documents, proof } = gpu === undefined ? await this.#series(trial) : await this.#proven(trial, gpu);
      this.#checkRevision(this.#facts.revision);
      const result = trial.judge(documents);
      const revision = this.#facts.revision ?? known.revision;
      return { trial: result, times: this.#times(), proof, revision, version: this.#facts.version };
    } catch (error) {
      throw placeError(error, { side: 'target', item: model });
    }
  }

  async #proven(trial: Trial, gpu: string): Promise<{ documents: unknown[]; proof: Proof }> {
    const before = await this.#gateway(gpu);
    const { documents } = await this.#series(trial);
    const sighting: Sighting = {
      before,
      after: await this.#gateway(gpu),
      profile: gpu,
      model: this.#id,
      pool: this.#pool,
      requests: documents.length,
      variants: 1,
    };
    const others = rivals(sighting, wantedWorkers(sighting));
    if (others.length > 0) await this.#exclude(sighting, trial);
    return { documents, proof: prove(sighting) };
  }

  /** Others were live that could have answered: asks until what they have loaded is known, and often enough to tell them apart. */
  async #exclude(sighting: Sighting, trial: Trial): Promise<void> {
    const [first] = trial.calls;
    const answers = new Set<string>();
    const instances = new Set<string | undefined>();
    if (!first) return;
    for (let count = 0; count < enoughRequests; count += 1) {
      answers.add(fingerprint(await this.#answer(first)));
      instances.add(this.#facts.instance);
    }
    sighting.requests += enoughRequests;
    sighting.variants = answers.size;
    sighting.instances = instances.has(undefined) ? undefined : instances.size;
    await this.#patience.settle(statusAgeMs, async () => {
      sighting.after = await this.#gateway(sighting.profile);
      return wantedWorkers(sighting).some(({ loaded }) => loaded?.includes(this.#id) ?? true);
    });
  }

  async #series(trial: Trial): Promise<{ documents: unknown[]; proof: undefined }> {
    const documents: unknown[] = [];
    for (const call of trial.calls) documents.push(await this.#answer(call));
    return { documents, proof: undefined };
  }

  /** The answer of one request, however long it takes within the time. */
  async #answer(call: SieCall): Promise<unknown> {
    for (;;) {
      this.#client.boundAnswers(this.#patience.left());
      const { gpu: profile, pool, format } = this.#options;
      const named = this.#pool === undefined ? undefined : pool;
      const answer = await this.#client.ask(call, { profile, pool: named, format });
      if (answer.kind === 'failed') throw answer.error;
      if (answer.kind === 'done') {
        this.#noteFacts(answer.facts);
        this.#patience.resume();
        return answer.document;
      }
      if (answer.phase === 'loading') await this.#checkState();
      await this.#patience.pause(answer.phase, answer.reason, () => this.#late(answer.phase, answer.reason));
    }
  }

  /** A pool may be named only when its worker is up, which a request that names none brings about. @throws E_NOT_FOUND */
  async #awaitPool(first: SieCall): Promise<void> {
    const { pool, gpu } = this.#options;
    if (pool === undefined) return;
    for (;;) {
      const found = await this.#patiently(() => this.#client.pool(pool));
      if (!found)
        throw new MirrorError('E_NOT_FOUND', `the cluster has no pool \`${pool}\``, {
          hint: 'make it for the time of the test with `--create-pool`, or leave out `--pool`',
        });
      const health = await this.#look();
      const live = health?.workers.filter((worker) => worker.healthy && found.workers.includes(worker.name)) ?? [];
      if (live.some((worker) => gpu === undefined || isOfProfile(worker, gpu))) {
        this.#pool = found.workers;
        await this.#answer(first);
        return;
      }
      const reason = `the pool \`${pool}\` (${printable(found.state)}) has no live worker yet`;
      await this.#patience.pause('worker', reason, () => this.#late('worker', reason));
    }
  }

  async #look(): Promise<SieHealth | undefined> {
    return this.#patiently(() => this.#client.health());
  }

  async #gateway(gpu: string): Promise<SieHealth> {
    const health = await this.#look();
    return health ?? checkProfile(undefined, gpu, this.#options.url);
  }

  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    return this.#patience.through(() => {
      this.#client.boundAnswers(this.#patience.left());
      return work();
    });
  }

  /** A gateway that tells the state of a model tells when loading is over for good. @throws E_SMOKE */
  async #checkState(): Promise<void> {
    const known = await this.#client.model(this.#id).catch(() => undefined);
    if (known?.state === 'failed')
      throw loadFailure(known.lastError?.errorClass, printable(known.lastError?.message ?? ''), {});
  }

  async #late(phase: WaitPhase, reason: string): Promise<MirrorError> {
    const { timeout } = this.#options;
    const at = { side: 'target' as const, item: this.#options.model };
    const { text, hint } = await this.#diagnose(phase);
    return new MirrorError('E_SMOKE', `no answer within ${timeout} s; the last one was: ${reason}${text}`, {
      hint,
      at,
    });
  }

  /** What else can be seen of that which did not come. */
  async #diagnose(phase: WaitPhase): Promise<{ text: string; hint: string }> {
    this.#client.boundAnswers(5000);
    const { gpu } = this.#options;
    if (phase === 'worker') {
      const health = await this.#client.health().catch(() => undefined);
      const live = health?.workers.find((worker) => worker.healthy && (gpu === undefined || isOfProfile(worker, gpu)));
      if (live)
        return {
          text: `, while \`${live.name}\` (${live.profile}) is live: it gets no work`,
          hint: 'the worker sent no pool name: set SIE_POOL on its pods, as the chart does',
        };
      return { text: '', hint: 'see the pods of the worker pool and their events: no node, no image or no quota' };
    }
    if (phase === 'loading') {
      const known = await this.#client.model(this.#id).catch(() => undefined);
      const loaded = known?.loaded === false ? ', and `loaded` stayed false' : '';
      return {
        text: loaded,
        hint: 'a model that stays "loading" usually misses a file or does not fit: ask the worker itself with `sie-mirror smoke http://WORKER:8080`, which says why',
      };
    }
    if (phase === 'queue')
      return { text: '', hint: 'the queue stays full or has no consumers: see the workers and NATS' };
    return { text: '', hint: 'see the pods of the gateway and of the workers' };
  }

  #noteFacts(facts: AnswerFacts): void {
    const skew = facts.clockAheadMs ?? 0;
    if (Math.abs(skew) > clockToleranceMs && this.#facts.clockAheadMs === undefined)
      this.#context.report({
        type: 'warning',
        text: `the clock of the gateway is ${Math.round(Math.abs(skew) / 60_000)} minutes ${skew > 0 ? 'ahead of' : 'behind'} that of this machine: certificates, tokens and signed requests fail by that`,
      });
    this.#facts = facts;
  }

  /** @throws E_SMOKE when other weights answer than were mirrored */
  #checkRevision(found: string | undefined): void {
    const { revision } = this.#options;
    if (revision === undefined || found === undefined || found === revision) return;
    throw new MirrorError(
      'E_SMOKE',
      `the cluster serves the commit \`${printable(found)}\`, \`${revision}\` was mirrored`,
      {
        hint: 'point workers.common.clusterCache.url at the release that was imported, and restart the pods of the workers',
      },
    );
  }

  #times(): Times {
    const { spent } = this.#patience;
    const times: Times = {
      total: this.#patience.elapsed(),
      coldStart: (spent.gateway ?? 0) + (spent.worker ?? 0),
      load: (spent.loading ?? 0) + (spent.memory ?? 0),
    };
    const { queueMs, inferenceMs } = this.#facts;
    if (queueMs !== undefined) times.queue = queueMs / 1000 + (spent.queue ?? 0);
    if (inferenceMs !== undefined) times.inference = inferenceMs / 1000;
    return times;
  }
}

/** What of an answer depends on who computed it. */
function fingerprint(document: unknown): string {
  const { items, scores, data } = (document ?? {}) as Record<string, unknown>;
  return JSON.stringify(items ?? scores ?? data ?? null);
}

/** @throws E_SMOKE for a profile that nobody configured, and for a worker of its own */
function checkProfile(health: SieHealth | undefined, gpu: string, url: string): SieHealth {
  if (!health)
    throw new MirrorError(
      'E_SMOKE',
      `\`${url}\` is a worker of its own and no gateway: it does not say what GPU it has`,
      {
        hint: 'give the address of the gateway, or leave out `--gpu`',
      },
    );
  const configured = [...new Set([...health.configured, ...health.live])];
  if (!configured.some((profile) => isOfProfile({ profile }, gpu)))
    throw new MirrorError(
      'E_SMOKE',
      `the machine profile \`${gpu}\` is not configured; there are ${configured.map((name) => `\`${printable(name)}\``).join(', ') || 'none'}`,
      { hint: 'give one of them with `--gpu`' },
    );
  return health;
}

/** @throws E_NOT_FOUND for an id that the cluster does not list exactly: a wrong case would "load" for ever */
function checkModel(id: string, models: readonly SieModel[]): SieModel {
  const found = models.find((model) => model.id === id);
  if (found) return found;
  const near = nearest(
    id,
    models.map((model) => model.id),
  );
  const listed = models.slice(0, 10).map((model) => `\`${printable(model.id)}\``);
  throw new MirrorError('E_NOT_FOUND', `the cluster knows no model \`${id}\``, {
    hint:
      near.length > 0
        ? `did you mean ${near.map((name) => `\`${printable(name)}\``).join(' or ')}?`
        : `it knows ${listed.join(', ') || 'none'}${models.length > 10 ? ', ...' : ''}`,
  });
}

/** Ids that differ in case only, else those that hold the name or are held by it. */
function nearest(id: string, known: readonly string[]): string[] {
  const wanted = id.toLowerCase();
  const sameButCase = known.filter((name) => name.toLowerCase() === wanted);
  if (sameButCase.length > 0) return sameButCase;
  const name = wanted.split('/').at(-1) ?? wanted;
  return known.filter((each) => each.toLowerCase().split('/').at(-1)?.includes(name)).slice(0, 3);
}
