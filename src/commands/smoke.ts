import { MirrorError } from '../core/errors.ts';
import { limitTo } from '../core/limit.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { writeFileAtomic } from '../fs/atomic.ts';
import { SieClient } from '../sie/client.ts';
import type { OutputType } from '../sie/embedding.ts';
import { plainModelId } from '../sie/models.ts';
import { attempt } from './attempt.ts';
import { type Context, hasPassword } from './context.ts';
import type { OwnWord } from './smoke/account.ts';
import { compareGolden, formatGolden, type GoldenModel, readGolden, recordOf } from './smoke/golden.ts';
import { type Clock, Patience } from './smoke/patience.ts';
import { checkPoolName, withPool } from './smoke/pool.ts';
import { type RunOptions, type RunResult, SmokeRun } from './smoke/run.ts';
import { smokeTable } from './smoke/table.ts';
import { commitOf, type Matched, matchKnown, readMirrored } from './smoke/targets.ts';
import { readTokens } from './smoke/tokens.ts';
import type { TrialKind } from './smoke/trial.ts';
import { listedWorkers } from './smoke/watch.ts';

export interface SmokeOptions {
  url: string;
  /** Exact id, maybe with a SIE bundle before it: `default:/BAAI/bge-m3`. */
  model?: string | undefined;
  /** Receipt or lock: every model of it instead of one. */
  all?: string | undefined;
  /** What to ask for; by the model's outputs when undefined. */
  kind?: TrialKind | undefined;
  /** Machine profiles that have to answer, with commas between them: `l4`, or with its pool `pool/l4`. */
  gpu?: string | undefined;
  /** Addresses of workers that are asked themselves what they did, or `listed` for those that the gateway lists. */
  workers?: readonly string[] | undefined;
  pool?: string | undefined;
  /** Makes the pool, and removes it at the end. */
  createPool?: boolean | undefined;
  /** Form of the embedding; the first that the model gives when undefined. */
  output?: OutputType | undefined;
  /** Dimensions that the vector must have. */
  dim?: number | undefined;
  /** Number format of the vectors. */
  dtype?: string | undefined;
  format?: 'msgpack' | 'json' | undefined;
  /** In seconds, for each model. */
  timeout: number;
  /** What `timeout` is measured by. */
  clock?: Clock | undefined;
  /** Commit of the weights that must answer. */
  revision?: string | undefined;
  /** Receipt or lock that names it. */
  receipt?: string | undefined;
  /** File to keep the vectors in. */
  record?: string | undefined;
  /** File with vectors that these must agree with. */
  golden?: string | undefined;
  /** How far the cosine may be from 1. */
  tolerance?: number | undefined;
}

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
  await within(patience, client, () => client.health());
  // What it does with the pool may come late, and is no part of that time.
  client.boundAnswers(options.timeout * 1000);
  return withPool(client, { name: pool, gpus }, context.report, work);
}

/** No answer takes longer than the time that is left. */
async function within<T>(patience: Patience, client: SieClient, work: () => Promise<T>): Promise<T> {
  return patience.through(() => {
    client.boundAnswers(patience.left());
    return work();
  });
}

function newClient({ url }: SmokeOptions, { http, env }: Context): SieClient {
  return new SieClient(http, url, readTokens(env));
}

/** @throws E_USAGE */
function checkOptions(options: SmokeOptions): { profiles: string[]; pool: string | undefined } {
  const { url, model, all, gpu, workers = [], createPool } = options;
  checkAddress(url);
  for (const worker of workers) if (worker !== listedWorkers) checkAddress(worker);
  if ((model === undefined) === (all === undefined))
    throw usage('one of `--model` and `--all` was wanted', '`--model BAAI/bge-m3`, or `--all site.receipt.json`');
  if (
    all !== undefined &&
    (options.revision !== undefined || options.receipt !== undefined || options.dim !== undefined)
  )
    throw usage(
      '`--revision`, `--receipt`, `--lock` and `--dim` are for one model',
      'leave them out: the file of `--all` names the commits',
    );
  const parts = (gpu ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const pools = new Set([
    ...parts.flatMap((part) => (part.includes('/') ? [part.split('/')[0] ?? ''] : [])),
    ...(options.pool === undefined ? [] : [options.pool]),
  ]);
  if (pools.size > 1)
    throw usage('more than one pool was named', 'name it once: `--gpu pool/l4`, or `--pool pool --gpu l4`');
  const [pool] = pools;
  if (pool !== undefined) checkPoolName(pool);
  const profiles = parts.map((part) => part.slice(part.indexOf('/') + 1));
  const odd = profiles.find((profile) => !/^[\w.-]+$/.test(profile));
  if (odd !== undefined)
    throw usage(`\`${odd}\` is no machine profile`, 'such as `l4`, `a100-80gb`, `cpu`, or with its pool `pool/l4`');
  if (createPool === true && (pool === undefined || profiles.length === 0))
    throw usage(
      '`--create-pool` needs `--pool` and `--gpu`',
      'a pool is made of workers of machine profiles: `--gpu smoke/l4 --create-pool`',
    );
  return { profiles, pool };
}

/** @throws E_USAGE */
function checkAddress(url: string): void {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw usage(`\`${url}\` is no address`, 'write it as `http://HOST:PORT` or `https://HOST`');
  if (hasPassword(url)) throw usage('the address holds a password', 'take it out, and set SIE_AUTH_TOKEN');
}

function usage(message: string, hint: string): MirrorError {
  return new MirrorError('E_USAGE', message, { hint });
}

class SmokeJob {
  readonly #client: SieClient;
  readonly #options: SmokeOptions;
  readonly #context: Context;
  readonly #records = new Map<string, GoldenModel>();

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
    await this.#keep();
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
    const matched = matchKnown(mirrored, await within(patience, this.#client, () => this.#client.models()));
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
    await this.#keep();
    items.sort((one, other) => (one.name < other.name ? -1 : 1));
    for (const name of unknown)
      items.push({ kind: 'model', name, state: 'skipped', detail: { reason: 'no model of this cluster' } });
    const failed = items.filter(({ state }) => state === 'failed').length;
    const all = targets.length + otherCase.length;
    return makeReport('smoke', items, { models: all, failed }, [
      ...smokeTable(items),
      failed === 0 ? `GOOD: the cluster answers, ${all} of ${all}` : `BAD: ${failed} of ${all} failed`,
    ]);
  }

  async #try(target: Target, golden: readonly GoldenModel[] | undefined): Promise<RunResult> {
    const {
      url,
      kind,
      workers = [],
      pool,
      output,
      dim,
      dtype,
      format = 'msgpack',
      timeout,
      clock,
      tolerance,
    } = this.#options;
    const asked = { url, kind, workers, pool, output, dim, dtype, format, timeout, clock };
    const options: RunOptions = { ...target, ...asked, hasSiblings: this.#options.gpu?.includes(',') === true };
    // Each has its own bound for answers, by the time that it has left.
    const client = newClient(this.#options, this.#context);
    const result = await new SmokeRun(client, options, this.#context).run();
    const id = plainModelId(target.model);
    if (golden && result.trial.vectors) {
      const lowest = compareGolden(golden, id, result.trial, tolerance);
      result.trial.detail['golden'] = lowest;
    }
    const record = recordOf(id, result.revision, result.trial);
    if (record) this.#records.set(id, record);
    return result;
  }

  async #golden(): Promise<GoldenModel[] | undefined> {
    const { golden } = this.#options;
    return golden === undefined ? undefined : readGolden(this.#context.path(golden));
  }

  async #keep(): Promise<void> {
    const { record } = this.#options;
    if (record === undefined) return;
    if (this.#records.size === 0)
      throw new MirrorError('E_SMOKE', 'there are no vectors to record', {
        hint: 'only models that give vectors can be recorded',
      });
    await writeFileAtomic(this.#context.path(record), formatGolden([...this.#records.values()]));
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
    counters: countersOf(word),
    revision,
    version,
  };
  return { kind: 'model', name: nameOf(target), state: 'done', detail };
}

function countersOf({ seen, moved, text }: OwnWord): Record<string, unknown> {
  return { seen, moved, text };
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
