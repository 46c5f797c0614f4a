import * as z from '../core/zod.ts';

/** A worker as the gateway lists it. */
export interface SieWorker {
  name: string;
  /** Where it can be asked itself, inside the cluster; empty when the gateway does not say. */
  url: string;
  /** Machine profile: `l4`, `cpu`. */
  profile: string;
  /** SIE bundle that it serves; empty when the gateway does not say. */
  sieBundle: string;
  healthy: boolean;
  /** Of the GPU; zero is the only sign that there is none. */
  memoryBytes: number;
  /** Models that it has loaded; undefined when the gateway does not say. */
  loaded: string[] | undefined;
}

export interface SieHealth {
  configured: string[];
  live: string[];
  workers: SieWorker[];
}

const names = z.array(z.string());
const workerSchema = z.looseObject({
  name: z.string().default(''),
  url: z.string().nullish(),
  gpu: z.string().nullish(),
  machine_profile: z.string().nullish(),
  bundle: z.string().nullish(),
  healthy: z.boolean().default(false),
  memory_total_bytes: z.number().nullish(),
  loaded_models: names.nullish(),
});
const healthSchema = z.looseObject({
  configured_gpu_types: names.default([]),
  live_gpu_types: names.default([]),
  workers: z.array(workerSchema).default([]),
});

/** `GET /health` of a gateway; undefined when it is no such document. */
export function parseHealth(document: unknown): SieHealth | undefined {
  const health = healthSchema.safeParse(document);
  if (!health.success) return undefined;
  const { configured_gpu_types: configured, live_gpu_types: live, workers } = health.data;
  return {
    configured,
    live,
    workers: workers.map((worker) => ({
      name: worker.name,
      url: worker.url ?? '',
      profile: worker.gpu ?? worker.machine_profile ?? '',
      sieBundle: worker.bundle ?? '',
      healthy: worker.healthy,
      memoryBytes: worker.memory_total_bytes ?? 0,
      loaded: worker.loaded_models ?? undefined,
    })),
  };
}

/** Live workers that can be asked themselves, by the addresses that the gateway has for them. */
export function askable(workers: readonly SieWorker[]): SieWorker[] {
  return workers.filter(({ url, healthy }) => healthy && /^https?:\/\//.test(url) && URL.canParse(url));
}

/** Live workers for people: `gpu-0` (l4). */
export function listLive(workers: readonly SieWorker[]): string {
  return workers
    .filter(({ healthy }) => healthy)
    .map(({ name, profile, memoryBytes }) => `\`${name}\` (${profile}${memoryBytes > 0 ? '' : ', no GPU memory'})`)
    .join(', ');
}

/** Whether a worker is of a machine profile: compared without case, and spot machines count, as the gateway has it. */
export function isOfProfile({ profile }: Pick<SieWorker, 'profile'>, wanted: string): boolean {
  return [wanted.toLowerCase(), `${wanted.toLowerCase()}-spot`].includes(profile.toLowerCase());
}

/** Whether a worker is of a machine profile and has what that promises: GPU memory, except for `cpu`. */
export function servesProfile(worker: SieWorker, wanted: string): boolean {
  return isOfProfile(worker, wanted) && (worker.memoryBytes > 0 || isCpu(wanted));
}

/** The chart's profile of machines without a GPU. */
export function isCpu(profile: string): boolean {
  return /^cpu(?:-|$)/i.test(profile);
}
