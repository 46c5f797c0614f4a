import type { Cluster, GatewayModel } from './sie-cluster.ts';

/** Releases whose answers the test gateway gives. */
export type Dialect = '0.3' | '0.10';

/** `GET /health` of a gateway. */
export function health(cluster: Cluster, dialect: Dialect, isProvisioning: boolean): Record<string, unknown> {
  const workers = isProvisioning ? [] : cluster.workers;
  const live = workers.filter((worker) => worker.healthy);
  const loaded = cluster.loaded();
  const newer = (healthy: boolean): Record<string, unknown> =>
    dialect === '0.3' ? {} : { ready_gpu_slots: healthy ? 1 : 0, pending_cost: 0, inflight_batches: 0 };
  return {
    status: live.length === 0 ? 'no_workers' : live.length < workers.length ? 'degraded' : 'healthy',
    type: 'gateway',
    cluster: { worker_count: live.length, gpu_count: live.length, models_loaded: loaded.length },
    configured_gpu_types: cluster.configured,
    live_gpu_types: [...new Set(live.map((worker) => worker.profile))],
    workers: workers.map((worker) => ({
      name: worker.name,
      url: worker.url ?? `http://${worker.name}:8080`,
      gpu: worker.profile,
      // One for a worker without a GPU as well: what gives it away is its memory.
      gpu_count: 1,
      healthy: worker.healthy,
      queue_depth: 0,
      loaded_models: worker.healthy ? cluster.loadedOn(worker) : [],
      memory_used_bytes: 0,
      memory_total_bytes: worker.memoryTotalBytes,
      bundle: worker.bundle,
      ...newer(worker.healthy),
    })),
    models: Object.keys(cluster.models).map((id) => ({ name: id, state: cluster.state(id) })),
  };
}

/** One element of `GET /v1/models`. */
export function modelEntry(cluster: Cluster, id: string, options: { withState: boolean }): Record<string, unknown> {
  const model = cluster.models[id];
  const state = cluster.state(id);
  const failure = { error_class: model?.errorClass ?? 'NOT_FOUND', message: `cannot load ${id}`, attempts: 1 };
  const extra = { state, last_error: state === 'failed' ? failure : null, revision: model?.revision ?? null };
  return {
    name: id,
    loaded: state === 'loaded',
    inputs: ['text'],
    outputs: model?.outputs ?? ['dense'],
    dims: { dense: model?.dim ?? 0 },
    max_sequence_length: 512,
    ...(options.withState ? extra : {}),
  };
}

/** The SIE bundle of a model. */
export function bundleOf(model: GatewayModel | undefined): string {
  return model?.bundle ?? 'default';
}
