import { createHash } from 'node:crypto';
import type { Dtype } from './sie-wire.ts';

/** One model of the catalogue. */
export interface GatewayModel {
  dim: number;
  /** Default `<f4`. */
  dtype?: Dtype;
  /** Milliseconds from the first request until the model is loaded; default none. */
  loadAfterMs?: number;
  neverLoads?: boolean;
  /** Class that a standalone worker names when the model does not load; default `NOT_FOUND`. */
  errorClass?: 'GATED' | 'NOT_FOUND' | 'OOM' | 'NETWORK' | 'DEPENDENCY' | 'UNKNOWN';
  /** Default: a unit vector that depends on the model and the text. */
  vector?: (text: string) => number[];
  /** SIE bundle that serves the model; default `default`. */
  bundle?: string;
  /** Commit that a 0.10 gateway reports. */
  revision?: string;
  /** What it gives; default dense vectors. */
  outputs?: ('dense' | 'sparse' | 'multivector' | 'score' | 'extract')[];
  /** Other ids that a 0.10 gateway takes for it. */
  aliases?: string[];
}

/** One worker that the gateway knows. */
export interface GatewayWorker {
  name: string;
  /** Machine profile, such as `l4` or `cpu`. */
  profile: string;
  /** Where it can be asked itself; default: a name that only the cluster knows. */
  url?: string;
  /** 0 is the only sign of a worker without a GPU. */
  memoryTotalBytes: number;
  healthy: boolean;
  bundle: string;
  /** A worker that sends no pool name is listed as live and never gets work. */
  sendsNoPool?: boolean;
  /** Pool whose queue it reads; workers of one pool share its work, whatever their profiles. Default: one of its profile. */
  pool?: string;
  /** Is added to the first number of each vector: other hardware does not agree to the last bit. */
  noise?: number;
  /** Ids of models that it had loaded before the test. */
  warm?: string[];
  /** Whether `/health` has its models; default true. */
  tellsLoaded?: boolean;
  /** Whether it names no profile of its own, as one without SIE_MACHINE_PROFILE and GPU does. */
  hidesProfile?: boolean;
  /** So many looks at `/health` still show what it had loaded before the test. */
  staleLooks?: number;
}

/** Where a request goes. */
export type Routing =
  | { kind: 'worker'; worker: GatewayWorker }
  | { kind: 'provisioning' }
  | { kind: 'unconfigured'; configured: string[] };

/** State of a model on the workers. */
export type ModelState = 'available' | 'loading' | 'loaded' | 'failed';

/** Requests that came through the queue, and to the worker itself. */
export interface Work {
  queue: number;
  itself: number;
}

/** What the cluster behind a gateway consists of; tests may change workers while it runs. */
export class Cluster {
  readonly models: Record<string, GatewayModel>;
  readonly workers: GatewayWorker[];
  readonly #configured: string[] | undefined;
  readonly #asked = new Map<string, number>();
  readonly #work = new Map<string, Work>();
  readonly #pools = new Map<string, string[]>();
  #turn = 0;

  constructor(models: Record<string, GatewayModel>, workers: readonly GatewayWorker[], configured?: readonly string[]) {
    this.models = models;
    this.workers = workers.map((worker) => ({ ...worker }));
    this.#configured = configured && [...configured];
  }

  get configured(): string[] {
    return this.#configured ?? [...new Set(this.workers.map((worker) => worker.profile))];
  }

  /** The worker for a request; a profile without a healthy worker falls back to any worker of the SIE bundle. */
  route(bundle: string, profile: string | undefined, pool?: string): Routing {
    const wanted = profile === undefined ? undefined : this.#profile(profile);
    if (profile !== undefined && wanted === undefined) return { kind: 'unconfigured', configured: this.configured };
    const healthy = this.workers.filter((item) => item.healthy && item.bundle === bundle && !item.sendsNoPool);
    const inPool = pool === undefined ? healthy : healthy.filter((item) => this.#pools.get(pool)?.includes(item.name));
    const chosen = inPool.find((item) => item.profile.toLowerCase() === wanted) ?? inPool[0];
    if (!chosen) return { kind: 'provisioning' };
    // Whoever reads the queue of that pool takes its work in turn.
    const readers = inPool.filter((item) => poolOf(item) === poolOf(chosen));
    return { kind: 'worker', worker: readers[this.#turn++ % readers.length] ?? chosen };
  }

  /** Makes a pool of healthy workers of these machine profiles. */
  addPool(name: string, profiles: readonly string[]): void {
    const assigned = this.workers.filter((item) => item.healthy && profiles.includes(item.profile));
    this.#pools.set(
      name,
      assigned.map((item) => item.name),
    );
  }

  removePool(name: string): boolean {
    return this.#pools.delete(name);
  }

  /** Workers of a pool; undefined when there is none of this name. */
  assigned(name: string): GatewayWorker[] | undefined {
    const names = this.#pools.get(name);
    return names && this.workers.filter((item) => names.includes(item.name));
  }

  pools(): string[] {
    return [...this.#pools.keys()];
  }

  /** Notes that a worker has answered for a model, and so has it loaded. */
  serve(id: string, worker: GatewayWorker, way: keyof Work): void {
    const work = this.workOf(worker, id);
    this.#work.set(keyOf(worker, id), { ...work, [way]: work[way] + 1 });
  }

  /** What a worker did for a model, by the ways that its counters tell apart. */
  workOf(worker: GatewayWorker, id: string): Work {
    return this.#work.get(keyOf(worker, id)) ?? { queue: 0, itself: 0 };
  }

  /** Ids of the models that one worker has loaded. */
  loadedOn(worker: GatewayWorker): string[] {
    const served = Object.keys(this.models).filter((id) => this.#work.has(keyOf(worker, id)));
    return [...new Set([...served, ...(worker.warm ?? [])])];
  }

  /** A model by its exact id; one in another case is accepted too, and never loads. */
  find(id: string): { model: GatewayModel; loads: boolean } | undefined {
    const exact = Object.hasOwn(this.models, id) ? this.models[id] : undefined;
    if (exact) return { model: exact, loads: !exact.neverLoads };
    const other = Object.entries(this.models).find(([name]) => name.toLowerCase() === id.toLowerCase());
    return other && { model: other[1], loads: false };
  }

  /** Notes a request that reached a worker, which is what starts loading. */
  ask(id: string): void {
    if (!this.#asked.has(id)) this.#asked.set(id, Date.now());
  }

  state(id: string): ModelState {
    const since = this.#asked.get(id);
    const found = this.find(id);
    if (since === undefined || !found) return 'available';
    if (!found.loads) return 'failed';
    return Date.now() - since >= (found.model.loadAfterMs ?? 0) ? 'loaded' : 'loading';
  }

  loaded(): string[] {
    return Object.keys(this.models).filter((id) => this.state(id) === 'loaded');
  }

  #profile(profile: string): string | undefined {
    const known = this.configured.map((name) => name.toLowerCase());
    const wanted = profile.toLowerCase();
    return [wanted, `${wanted}-spot`].find((name) => known.includes(name));
  }
}

/** A unit vector that is the same for the same model and text, and closer for texts that share words. */
export function defaultVector(id: string, text: string, dim: number): number[] {
  const words = text.toLowerCase().match(/\w+/g) ?? [''];
  const vectors = words.map((word) => wordVector(id, word, dim));
  const numbers = Array.from({ length: dim }, (_, index) => vectors.reduce((sum, each) => sum + (each[index] ?? 0), 0));
  const norm = Math.hypot(...numbers);
  return numbers.map((number) => number / norm);
}

const wordVectors = new Map<string, number[]>();

function wordVector(id: string, word: string, dim: number): number[] {
  const key = `${id}\0${word}\0`;
  const known = wordVectors.get(`${key}${dim}`);
  if (known) return known;
  const vector = Array.from({ length: dim }, (_, index) => {
    const digest = createHash('sha256').update(`${key}${index}`).digest();
    return digest.readUInt32LE() / 2 ** 31 - 1;
  });
  wordVectors.set(`${key}${dim}`, vector);
  return vector;
}

function poolOf({ pool, profile }: GatewayWorker): string {
  return pool ?? profile;
}

function keyOf({ name }: GatewayWorker, id: string): string {
  return `${name}\0${id}`;
}
