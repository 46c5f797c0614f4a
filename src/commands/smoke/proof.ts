import { MirrorError } from '../../core/errors.ts';
import { inBackticks, plural } from '../../core/text.ts';
import { isCpu, listLive, servesProfile, type SieHealth, type SieWorker } from '../../sie/health.ts';
import type { OwnWord } from './account.ts';

/** Why the answers must have come from workers of the machine profile that was asked for. */
export interface Proof {
  profile: string;
  workers: string[];
  /**
   * `alone`: nobody else was live. `loaded`: nobody else has the model. `process`: the workers' own processes signed the
   * answers. `counters`: their own counters show all of the work, and nobody else's did any. `instance`: no more processes
   * answered than there are wanted workers. `bits`: all answers are the same to the bit, as other hardware does not give them.
   * The last two hold only when the wanted ones took part, as they do not tell who all of the work went to.
   */
  by: 'alone' | 'loaded' | 'process' | 'counters' | 'instance' | 'bits';
  requests: number;
  text: string;
}

/** What was seen around a series of requests. */
export interface Sighting {
  /** Before the first request of all; undefined when others ask for the same model meanwhile. */
  start?: SieHealth | undefined;
  before: SieHealth;
  after: SieHealth;
  /** Whether `after` is so long after the last answer that the gateway has heard what every worker has loaded by then. */
  isFresh?: boolean;
  profile: string;
  model: string;
  /** Names of the workers of the pool that was asked; undefined when none was named. */
  pool?: readonly string[] | undefined;
  requests: number;
  /** How many different answers the same request got, bit by bit. */
  variants: number;
  /** How many processes gave them; undefined where the release names none. */
  instances?: number | undefined;
  /** What the workers said of their work themselves. */
  word?: OwnWord;
}

/** Around which requests. */
type Scene = Omit<Sighting, 'requests' | 'variants'>;

/** Live workers of the profile that were there before and after. @throws E_SMOKE for a fall-back */
export function wantedWorkers({ before, after, profile, model, pool }: Scene): SieWorker[] {
  const serves = (worker: SieWorker): boolean =>
    worker.healthy && servesProfile(worker, profile) && inPool(worker, pool);
  const live = new Set(before.workers.filter(serves).map(({ name }) => name));
  const wanted = after.workers.filter((worker) => serves(worker) && live.has(worker.name));
  if (wanted.length > 0) return wanted;
  throw new MirrorError(
    'E_SMOKE',
    `an answer came, but not from ${isCpu(profile) ? 'a worker' : 'a GPU'} of the machine profile \`${profile}\`: the live workers are ${listLive(after.workers) || 'none'}`,
    {
      hint: 'the gateway hands work to any worker when none of the wanted profile is healthy: see why the pods of that pool do not run',
      at: { side: 'target', item: model },
    },
  );
}

/** Live workers that are not wanted and could have answered: of the same SIE bundle, and in the pool if one was named. */
export function rivals(sighting: Scene, wanted: readonly SieWorker[]): SieWorker[] {
  const sieBundles = new Set(wanted.map(({ sieBundle }) => sieBundle));
  const all = [...sighting.before.workers, ...sighting.after.workers].filter(
    (worker) =>
      worker.healthy &&
      !servesProfile(worker, sighting.profile) &&
      inPool(worker, sighting.pool) &&
      (worker.sieBundle === '' || sieBundles.has('') || sieBundles.has(worker.sieBundle)),
  );
  // As the last look saw them: what a worker has loaded is known there.
  return [...new Map(all.map((worker) => [worker.name, worker])).values()];
}

/** What speaks against the wanted workers wins over what speaks for them. @throws E_SMOKE when somebody else may have answered */
export function prove(sighting: Sighting): Proof {
  const { profile, model, requests } = sighting;
  const wanted = wantedWorkers(sighting);
  const others = rivals(sighting, wanted);
  const workers = wanted.map(({ name }) => name);
  const against = contrary(sighting, wanted, others);
  const found =
    aloneOrCounted(sighting, wanted, others) ??
    (against === undefined ? byAnswers(sighting, wanted, others) : undefined);
  if (found) {
    const by = `${plural(requests, 'request')} by ${workers.join(', ')} (${wanted[0]?.profile ?? profile})`;
    return { profile, workers, by: found.by, requests, text: `${by}: ${found.why}` };
  }
  const rivalsOf = others.map(({ name, profile: other }) => `\`${name}\` (${other})`).join(', ');
  throw new MirrorError(
    'E_SMOKE',
    `answers came while ${listed(wanted)} (${profile}) was live, but ${rivalsOf} could have given them: ${against ?? doubt(sighting, wanted, others)}`,
    {
      hint: 'workers that share a pool (SIE_POOL) share its work: give each machine profile a pool of its own, as the chart does, name the pool with `--pool`, or ask the workers with `--worker`',
      at: { side: 'target', item: model },
    },
  );
}

/** Which proof holds, and in which words. */
interface Reason {
  by: Proof['by'];
  why: string;
}

type Workers = readonly SieWorker[];

/** What nothing else can speak against: there was nobody else, or the workers themselves say who worked. */
function aloneOrCounted(sighting: Sighting, wanted: Workers, others: Workers): Reason | undefined {
  if (others.length === 0) return { by: 'alone', why: 'no other worker that could have answered was live' };
  const { word } = sighting;
  // What the workers themselves say is first-hand, and a status is some seconds old.
  if (word?.excludes !== true || (word.isSum === true && isSplit(sighting, wanted))) return undefined;
  if (word.seen === 'process') return { by: 'process', why: word.text };
  return { by: 'counters', why: `their own counters ${word.text}` };
}

/** What the answers, and what the gateway knows of the workers, tell. */
function byAnswers(sighting: Sighting, wanted: Workers, others: Workers): Reason | undefined {
  const { isFresh, model, requests, instances, word } = sighting;
  const rest = others.map(({ name }) => name).join(', ');
  const has = (worker: SieWorker): boolean => hasModel(worker, model) === true;
  const told = [...wanted, ...others].every((worker) => hasModel(worker, model) !== undefined);
  if (isFresh === true && told && wanted.some(has) && !others.some(has))
    return { by: 'loaded', why: `${rest} did not load the model` };
  const tookPart = wanted.some(has) || (word?.seen === 'moved' && (word.moved ?? 0) > 0);
  if (requests < enoughRequests || !tookPart) return undefined;
  // Workers on other hardware do not agree to the last bit; those on the same do.
  const alike = areAlike(wanted, others);
  if (instances === undefined)
    return alike ? undefined : { by: 'bits', why: `all answers agree to the last bit, so ${rest} had no part in them` };
  // Of several processes one may be that of another worker, while a wanted one gets no work.
  if (instances !== 1 && alike) return undefined;
  const processes = instances === 1 ? 'one process' : `${instances} processes that agree to the last bit`;
  return { by: 'instance', why: `all answers came from ${processes}, and ${rest} would have taken a share` };
}

/** What speaks for it that others answered. */
function contrary(sighting: Sighting, wanted: Workers, others: Workers): string | undefined {
  const { variants, instances, model, start } = sighting;
  if (isSplit(sighting, wanted))
    return (instances ?? 0) > wanted.length
      ? `${instances} processes answered`
      : `the same text got ${variants} different answers`;
  const having = others.filter((worker) => hasModel(worker, model) === true);
  if (having.length > 0 && wanted.every((worker) => hasModel(worker, model) === false))
    return `${listed(having)} loaded the model, ${listed(wanted)} did not`;
  const began = having.filter((worker) => hadNot(worker, model, start));
  if (began.length > 0 && !wanted.some((worker) => hasModel(worker, model) === true && hadNot(worker, model, start)))
    return `${listed(began)} loaded the model meanwhile`;
  return undefined;
}

/** Whether the answers are of more than the wanted workers. */
function isSplit({ variants, instances }: Sighting, wanted: readonly SieWorker[]): boolean {
  // One process may well differ from itself, by what else it computes at the time.
  return (instances ?? 0) > wanted.length || (instances !== 1 && variants > 1);
}

function hadNot({ name }: SieWorker, model: string, start: SieHealth | undefined): boolean {
  if (start === undefined) return false;
  const then = start.workers.find((worker) => worker.name === name);
  return then === undefined || hasModel(then, model) === false;
}

function doubt({ requests, model }: Sighting, wanted: Workers, others: Workers): string {
  if (requests < enoughRequests) return `${requests} requests are too few to tell`;
  if (wanted.some((worker) => hasModel(worker, model) === true) && areAlike(wanted, others))
    return 'they are of the same hardware, and answer alike';
  return `nothing shows that ${listed(wanted)} took part`;
}

/** Undefined when the gateway does not say. */
function hasModel({ loaded }: SieWorker, model: string): boolean | undefined {
  return loaded?.includes(model);
}

function areAlike(wanted: readonly SieWorker[], others: readonly SieWorker[]): boolean {
  return others.some((other) => wanted.some((each) => hardware(each) === hardware(other)));
}

/** Of `a100-40gb` and `a100-80gb` the same. */
function hardware({ profile }: SieWorker): string {
  return profile.toLowerCase().split('-')[0] ?? '';
}

/** If a third of the work went elsewhere, this many in a row would miss it once in 3,000 times. */
export const enoughRequests = 20;

function inPool({ name }: SieWorker, pool: readonly string[] | undefined): boolean {
  return pool === undefined || pool.includes(name);
}

function listed(workers: readonly SieWorker[]): string {
  return inBackticks(workers.map(({ name }) => name));
}
