import { MirrorError } from '../core/errors.ts';
import { limitTo } from '../core/limit.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { writeFileAtomic } from '../fs/atomic.ts';
import { SieClient } from '../sie/client.ts';
import { plainModelId } from '../sie/models.ts';
import { attempt } from './attempt.ts';
import type { Context } from './context.ts';
import { compareGolden, formatGolden, type GoldenModel, readGolden, recordOf } from './smoke/golden.ts';
import { checkOptions, type SmokeOptions } from './smoke/options.ts';
import { Patience } from './smoke/patience.ts';
import { withPool } from './smoke/pool.ts';
import { type RunOptions, type RunResult, SmokeRun } from './smoke/run.ts';
import { smokeTable } from './smoke/table.ts';
import { commitOf, type Matched, matchKnown, readMirrored } from './smoke/targets.ts';
import { readTokens } from './places/tokens.ts';

/** One model on one machine profile, or on any. */
interface Target {
  /** As the cluster has it. */
  model: string;
  /** As it was mirrored; undefined when nothing says so. */
  repo: string | undefined;
  gpu: string | undefined;
  revision: string | undefined;
}

/**
 * Asks models of the deployed cluster, and proves who answered and that the answers make sense.
 * @throws E_USAGE; for a single model also what is wrong with it
 */
export async function smoke(options: SmokeOptions, context: Context): Promise<Report> {
  const { profiles, pool } = checkOptions(options);
  const client = newClient(options, context);
  const job = new SmokeJob(client, { ...options, pool }, context);
  const work = async (): Promise<Report> =>
    options.all === undefined ? job.one(profiles) : job.all(options.all, profiles);
  if (options.createPool !== true || pool === undefined) return work();
  const gpus = Object.fromEntries(profiles.map((profile) => [profile, 1]));
  const patience = new Patience(options.timeout, pool, context.report, context.signal, options.clock);
  await patience.through(client, (each) => each.health());
  // What it does with the pool may come late, and is no part of that time.
  client.boundAnswers(options.timeout * 1000);
  return withPool(client, { name: pool, gpus }, context.report, work);
}

function newClient({ url }: SmokeOptions, { http, env }: Context): SieClient {
  return new SieClient(http, url, readTokens(env));
}

class SmokeJob {
  readonly #client: SieClient;
  readonly #options: SmokeOptions;
  readonly #context: Context;
  readonly #records = new Map<Target, GoldenModel>();

  constructor(client: SieClient, options: SmokeOptions, context: Context) {
    this.#client = client;
    this.#options = options;
    this.#context = context;
  }

  async one(profiles: readonly string[]): Promise<Report> {
    const { model = '', revision, receipt } = this.#options;
    const mirrored = receipt === undefined ? undefined : await readMirrored(receipt, this.#context);
    const wanted = revision ?? commitOf(mirrored, plainModelId(model), receipt ?? '');
    const golden = await this.#golden();
    this.#context.report({ type: 'stage', text: `asking ${this.#options.url} for ${model}` });
    if (profiles.length > 1)
      return this.#table(targetsOf([{ id: model, repo: undefined, commit: wanted }], profiles), golden);
    const target: Target = { model, repo: undefined, gpu: profiles[0], revision: wanted };
    const result = await this.#try(target, golden);
    await this.#keep([target]);
    const report = makeReport('smoke', [itemOf(target, result, this.#options.url)], { seconds: result.times.total }, [
      `${model}: ${result.trial.text} after ${result.times.total.toFixed(1)} s`,
      ...linesOf(target, result),
      'GOOD: the cluster answers',
    ]);
    return { ...report, facts: factsOf(this.#options.url, result) };
  }

  async all(path: string, profiles: readonly string[]): Promise<Report> {
    const mirrored = await readMirrored(path, this.#context);
    const golden = await this.#golden();
    this.#context.report({ type: 'stage', text: `asking ${this.#options.url} for the models of ${path}` });
    const { timeout, clock } = this.#options;
    const patience = new Patience(timeout, path, this.#context.report, this.#context.signal, clock);
    const matched = matchKnown(mirrored, await patience.through(this.#client, (client) => client.models()));
    if (matched.models.length + matched.otherCase.length === 0)
      throw new MirrorError('E_NOT_FOUND', `the cluster knows none of the ${mirrored.size} models of \`${path}\``, {
        hint: 'see `GET /v1/models`: the release, the SIE bundles and the models that were mirrored have to belong together',
      });
    return this.#table(targetsOf(matched.models, profiles), golden, matched);
  }

  async #table(
    targets: readonly Target[],
    golden: readonly GoldenModel[] | undefined,
    { unknown, otherCase }: Pick<Matched, 'unknown' | 'otherCase'> = { unknown: [], otherCase: [] },
  ): Promise<Report> {
    const items: ReportItem[] = [];
    const limit = limitTo(this.#context.slots);
    await Promise.all(
      targets.map((target) =>
        limit(() =>
          attempt(items, 'model', nameOf(target), async () => {
            items.push(itemOf(target, await this.#try(target, golden), this.#options.url));
          }),
        ),
      ),
    );
    for (const { repo, id } of otherCase)
      await attempt(items, 'model', repo, async () => Promise.reject(anotherCase(repo, id)));
    items.sort((one, other) => (one.name < other.name ? -1 : 1));
    for (const name of unknown)
      items.push({ kind: 'model', name, state: 'skipped', detail: { reason: 'no model of this cluster' } });
    const failed = items.filter(({ state }) => state === 'failed').length;
    const all = targets.length + otherCase.length;
    const table = smokeTable(items, golden !== undefined);
    const wrong = await this.#files(items, targets, failed);
    return makeReport('smoke', items, { models: all, failed }, [
      ...table,
      ...wrong,
      ...(failed > 0 ? [`BAD: ${failed} of ${all} failed`] : []),
      ...(failed + wrong.length === 0 ? [`GOOD: the cluster answers, ${all} of ${all}`] : []),
    ]);
  }

  /** What could not be done with the files of vectors; it is no reason to keep back what is known of the models. */
  async #files(items: ReportItem[], targets: readonly Target[], failed: number): Promise<string[]> {
    const { golden, record } = this.#options;
    const wrong: ReportItem[] = [];
    const isNone = failed === 0 && items.every(({ detail }) => detail?.['golden'] === undefined);
    if (golden !== undefined && isNone)
      await attempt(wrong, 'golden', golden, async () => Promise.reject(nothingCompared('no model gives vectors')));
    await attempt(wrong, 'record', record ?? '', () => this.#keep(targets));
    items.push(...wrong);
    return wrong.map(({ name, error }) => `BAD: \`${name}\`: ${error?.message ?? ''}`);
  }

  async #try(target: Target, golden: readonly GoldenModel[] | undefined): Promise<RunResult> {
    const { gpu, all, tolerance } = this.#options;
    const options: RunOptions = { ...this.#options, ...target, hasSiblings: gpu?.includes(',') === true };
    // Each has its own bound for answers, by the time that it has left.
    const client = newClient(this.#options, this.#context);
    const result = await new SmokeRun(client, options, this.#context).run();
    const id = plainModelId(target.model);
    if (golden && result.trial.vectors)
      result.trial.detail['golden'] = compareGolden(golden, id, result.trial, tolerance);
    else if (golden && all === undefined) throw nothingCompared('the model gives no vectors');
    const record = recordOf(id, result.revision, result.trial);
    if (record) this.#records.set(target, record);
    return result;
  }

  async #golden(): Promise<GoldenModel[] | undefined> {
    const { golden } = this.#options;
    return golden === undefined ? undefined : readGolden(this.#context.path(golden));
  }

  /** Of each model the vectors that the first machine profile gave, in the order of `--gpu`. */
  async #keep(targets: readonly Target[]): Promise<void> {
    const { record } = this.#options;
    if (record === undefined) return;
    const kept = new Map<string, GoldenModel>();
    for (const each of targets.flatMap((target) => this.#records.get(target) ?? []))
      if (!kept.has(each.model)) kept.set(each.model, each);
    if (kept.size === 0)
      throw new MirrorError('E_SMOKE', 'there are no vectors to record', {
        hint: 'only models that answer well and give vectors can be recorded',
      });
    await writeFileAtomic(this.#context.path(record), formatGolden([...kept.values()]));
  }
}

function targetsOf(
  models: readonly (Omit<Matched['models'][number], 'repo'> & Pick<Target, 'repo'>)[],
  profiles: readonly string[],
): Target[] {
  const wanted = profiles.length === 0 ? [undefined] : profiles;
  return models.flatMap(({ id, repo, commit }) => wanted.map((gpu) => ({ model: id, repo, gpu, revision: commit })));
}

/** Its pods look for the weights in another place than that where they are. */
function anotherCase(repo: string, id: string): MirrorError {
  return new MirrorError(
    'E_NOT_FOUND',
    `the cluster knows \`${id}\`, and \`${repo}\` was mirrored: names are compared with case`,
    {
      hint: `snapshot, bundle and import \`${id}\``,
      at: { side: 'target', item: repo },
    },
  );
}

function nothingCompared(why: string): MirrorError {
  return new MirrorError('E_SMOKE', `nothing was compared with the recorded vectors: ${why}`, {
    hint: 'leave out `--golden`: scores and entities are not recorded',
  });
}

function nameOf({ model, gpu }: Target): string {
  return gpu === undefined ? model : `${model} on ${gpu}`;
}

function itemOf(target: Target, result: RunResult, url: string): ReportItem {
  const { trial, times, proof, word, revision, version } = result;
  const { model, repo, gpu } = target;
  const detail = {
    url,
    model,
    repo,
    gpu,
    ...trial.detail,
    times,
    proof,
    counters: { seen: word.seen, moved: word.moved, text: word.text },
    revision,
    version,
  };
  return { kind: 'model', name: nameOf(target), state: 'done', detail };
}

function linesOf({ revision: wanted }: Target, { times, proof, word, revision, trial }: RunResult): string[] {
  const seconds = (value: number | undefined): string => (value === undefined ? 'not told' : `${value.toFixed(3)} s`);
  const golden = trial.detail['golden'];
  return [
    `cold start ${times.coldStart.toFixed(1)} s, load ${times.load.toFixed(1)} s, queue ${seconds(times.queue)}, inference ${seconds(times.inference)}`,
    ...(proof ? [`answered by machine profile ${proof.profile}: ${proof.text}`] : []),
    `the worker's own counters: ${word.text}`,
    ...(typeof golden === 'number' ? [`agrees with the recorded vectors: cosine ${golden.toFixed(5)} or more`] : []),
    ...(wanted === undefined
      ? []
      : [
          revision === undefined
            ? `commit ${wanted}: this release does not tell which it serves`
            : `commit ${revision}, as mirrored`,
        ]),
  ];
}

function factsOf(url: string, { version, revision, proof }: RunResult): Record<string, string> {
  return {
    cluster: url,
    ...(version === undefined ? {} : { release: version }),
    ...(revision === undefined ? {} : { commit: revision }),
    ...(proof ? { proof: proof.text } : {}),
  };
}
