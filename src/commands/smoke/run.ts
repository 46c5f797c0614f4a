import { MirrorError, placeError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import type { AnswerFacts, SieAnswer } from '../../sie/answer.ts';
import type { SieCall } from '../../sie/calls.ts';
import type { SieClient } from '../../sie/client.ts';
import { loadFailure, type WaitPhase } from '../../sie/faults.ts';
import { isOfProfile, type SieHealth, type SieWorker } from '../../sie/health.ts';
import { plainModelId } from '../../sie/models.ts';
import type { Context } from '../context.ts';
import { type Asked, hearWorkers, type OwnWord } from './account.ts';
import { checkModel, checkProfile } from './known.ts';
import type { SmokeOptions } from './options.ts';
import { Patience } from './patience.ts';
import { enoughRequests, type Proof, prove, rivals, type Sighting, wantedWorkers } from './proof.ts';
import { type Trial, type TrialResult, trialsFor } from './trial.ts';
import { failedOn, WorkerWatch } from './watch.ts';

/** One model on one machine profile. */
export interface RunOptions extends SmokeOptions {
  model: string;
  /** Machine profile that has to answer, without its pool. */
  gpu: string | undefined;
  /** Whether the same model is asked on other profiles meanwhile: then others may load it by that. */
  hasSiblings: boolean;
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
  /** What the workers said of their work themselves. */
  word: OwnWord;
  /** What the answers named; undefined when the release names none. */
  revision: string | undefined;
  version: string | undefined;
}

interface Seen {
  documents: unknown[];
  proof: Proof | undefined;
  word: OwnWord;
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
  /** Processes that signed answers. */
  readonly #instances = new Set<string | undefined>();

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
    const { model, gpu } = this.#options;
    try {
      const health = await this.#look();
      if (gpu !== undefined) checkProfile(health, gpu, this.#options.url);
      const known = checkModel(this.#id, await this.#patience.through(this.#client, (client) => client.models()));
      this.#checkRevision(known.revision);
      const trial = await this.#fitting(trialsFor(this.#options, known));
      await this.#awaitPool(trial.calls[0]);
      const start = this.#options.hasSiblings ? undefined : health;
      const seen = gpu === undefined ? await this.#series(trial) : await this.#proven(trial, gpu, start);
      this.#checkRevision(this.#facts.revision);
      const result = trial.judge(seen.documents);
      const revision = this.#facts.revision ?? known.revision;
      const { proof, word } = seen;
      return { trial: result, times: this.#times(), proof, word, revision, version: this.#facts.version };
    } catch (error) {
      throw placeError(error, { side: 'target', item: model });
    }
  }

  async #proven(trial: Trial, gpu: string, start: SieHealth | undefined): Promise<Seen> {
    const before = await this.#gateway(gpu);
    const watch = await this.#watch(before);
    const documents = await this.#ask(trial);
    const sighting: Sighting = {
      start,
      before,
      after: await this.#gateway(gpu),
      profile: gpu,
      model: this.#id,
      pool: this.#pool,
      requests: documents.length,
      variants: 1,
    };
    if (rivals(sighting, wantedWorkers(sighting)).length > 0) await this.#askMore(sighting, trial);
    const wanted = wantedWorkers(sighting);
    const others = rivals(sighting, wanted);
    const { requests } = sighting;
    const word = await this.#hear(watch, { wanted, others, requests });
    if (others.length > 0 && !word.excludes) await this.#awaitStatus(sighting);
    return { documents, proof: prove({ ...sighting, word }), word };
  }

  /** Others were live that could have answered: asks often enough to tell them apart. */
  async #askMore(sighting: Sighting, trial: Trial): Promise<void> {
    const answers = new Set<string>();
    for (let count = 0; count < enoughRequests; count += 1)
      answers.add(fingerprint(await this.#answer(trial.calls[0])));
    sighting.requests += enoughRequests;
    sighting.variants = answers.size;
    sighting.instances = this.#instances.has(undefined) ? undefined : this.#instances.size;
    sighting.after = await this.#gateway(sighting.profile);
  }

  /** Until the gateway has heard what each worker loaded for the last answer: that one has nothing only time tells. */
  async #awaitStatus(sighting: Sighting): Promise<void> {
    const has = ({ loaded }: SieWorker): boolean => loaded?.includes(this.#id) ?? true;
    sighting.isFresh = await this.#patience.settle(statusAgeMs, async () => {
      sighting.after = await this.#gateway(sighting.profile);
      const wanted = wantedWorkers(sighting);
      return wanted.some(has) && rivals(sighting, wanted).some(has);
    });
  }

  async #series(trial: Trial): Promise<Seen> {
    const health = await this.#look();
    const watch = await this.#watch(health);
    const documents = await this.#ask(trial);
    const wanted = health?.workers.filter(({ healthy }) => healthy);
    const word = await this.#hear(watch, { wanted, others: [], requests: documents.length });
    return { documents, proof: undefined, word };
  }

  async #ask(trial: Trial): Promise<unknown[]> {
    const documents: unknown[] = [];
    for (const call of trial.calls) documents.push(await this.#answer(call));
    return documents;
  }

  async #watch(health: SieHealth | undefined): Promise<WorkerWatch> {
    const { url, workers } = this.#options;
    const watch = await WorkerWatch.start(this.#id, workers, { url, health }, this.#context);
    this.#instances.clear();
    return watch;
  }

  /** @throws E_SMOKE when others answered than those who are said to have */
  async #hear(watch: WorkerWatch, asked: Pick<Asked, 'wanted' | 'others' | 'requests'>): Promise<OwnWord> {
    const signed = [...this.#instances].filter((id) => id !== undefined);
    const instances = this.#instances.has(undefined) ? undefined : new Set(signed);
    return hearWorkers({ ...asked, model: this.#id, instances, accounts: await watch.accounts() });
  }

  /** The first trial that the model does not refuse, as gateways of 0.3 do not say what a model does. */
  async #fitting(trials: readonly Trial[]): Promise<Trial> {
    let refusal: MirrorError | undefined;
    for (const trial of trials) {
      const answer = await this.#settled(trial.calls[0]);
      if (answer.kind === 'done' && (trials.length === 1 || trial.fits(answer.document))) return trial;
      if (answer.kind === 'failed' && (trials.length === 1 || answer.refused !== true)) throw answer.error;
      if (answer.kind === 'failed') refusal ??= answer.error;
    }
    throw (
      refusal ??
      new MirrorError('E_SMOKE', 'the model gives nothing that smoke knows', {
        hint: 'name what it does: `--output`, `--score` or `--extract`',
      })
    );
  }

  /** The answer of one request, however long it takes within the time. @throws for one that has none */
  async #answer(call: SieCall): Promise<unknown> {
    const answer = await this.#settled(call);
    if (answer.kind === 'failed') throw answer.error;
    return answer.document;
  }

  async #settled(call: SieCall): Promise<Exclude<SieAnswer, { kind: 'wait' }>> {
    for (;;) {
      this.#client.boundAnswers(this.#patience.left());
      const { gpu: profile, pool, format } = this.#options;
      const named = this.#pool === undefined ? undefined : pool;
      const answer = await this.#client.ask(call, { profile, pool: named, format });
      if (answer.kind === 'failed') return answer;
      if (answer.kind === 'done') {
        this.#noteFacts(answer.facts);
        this.#patience.resume();
        return answer;
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
      const found = await this.#patience.through(this.#client, (client) => client.pool(pool));
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
    return this.#patience.through(this.#client, (client) => client.health());
  }

  async #gateway(gpu: string): Promise<SieHealth> {
    const health = await this.#look();
    return health ?? checkProfile(undefined, gpu, this.#options.url);
  }

  /** Through a gateway a model that has failed is loading for ever; a worker that is asked itself says so. @throws E_SMOKE */
  async #checkState(): Promise<void> {
    const { url, workers } = this.#options;
    if (workers.length === 0) return;
    const health = await this.#client.health().catch(() => undefined);
    const known = await failedOn(this.#id, workers, { url, health }, this.#context);
    if (known) throw loadFailure(known.lastError?.errorClass, printable(known.lastError?.message ?? ''), {});
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
        hint: 'a model that stays "loading" usually misses a file or does not fit: only its worker says why, with `--worker http://WORKER:8080` or `--worker listed`, or `sie-mirror doctor`',
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
    this.#instances.add(facts.instance);
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
