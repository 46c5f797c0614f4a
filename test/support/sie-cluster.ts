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
}

/** Where a request goes. */
export type Routing =
  | { kind: 'worker'; worker: GatewayWorker }
  | { kind: 'provisioning' }
  | { kind: 'unconfigured'; configured: string[] };

/** State of a model on the workers. */
export type ModelState = 'available' | 'loading' | 'loaded' | 'failed';

/** What the cluster behind a gateway consists of; tests may change workers while it runs. */
export class Cluster {
  readonly models: Record<string, GatewayModel>;
  readonly workers: GatewayWorker[];
  readonly #configured: string[] | undefined;
  readonly #asked = new Map<string, number>();

  constructor(models: Record<string, GatewayModel>, workers: readonly GatewayWorker[], configured?: readonly string[]) {
    this.models = models;
    this.workers = [...workers];
    this.#configured = configured && [...configured];
  }

  get configured(): string[] {
    return this.#configured ?? [...new Set(this.workers.map((worker) => worker.profile))];
  }

  /** The worker for a request; a profile without a healthy worker falls back to any worker of the SIE bundle. */
  route(bundle: string, profile: string | undefined): Routing {
    const wanted = profile === undefined ? undefined : this.#profile(profile);
    if (profile !== undefined && wanted === undefined) return { kind: 'unconfigured', configured: this.configured };
    const healthy = this.workers.filter((item) => item.healthy && item.bundle === bundle && !item.sendsNoPool);
    const worker = healthy.find((item) => item.profile.toLowerCase() === wanted) ?? healthy[0];
    return worker ? { kind: 'worker', worker } : { kind: 'provisioning' };
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

/** A unit vector that is the same for the same model and text. */
export function defaultVector(id: string, text: string, dim: number): number[] {
  const numbers = Array.from({ length: dim }, (_, index) => {
    const digest = createHash('sha256').update(`${id}\0${text}\0${index}`).digest();
    return digest.readUInt32LE() / 2 ** 31 - 1;
  });
  const norm = Math.hypot(...numbers);
  return numbers.map((number) => number / norm);
}
