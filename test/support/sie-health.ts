import type { Cluster, GatewayModel, GatewayWorker } from './sie-cluster.ts';

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
    status: live.length === 0 ? 'degraded' : 'healthy',
    type: 'gateway',
    cluster: { worker_count: live.length, gpu_count: live.length, models_loaded: loaded.length, total_qps: 0 },
    configured_gpu_types: cluster.configured,
    live_gpu_types: [...new Set(live.map((worker) => worker.profile))],
    workers: workers.map((worker) => ({
      name: worker.name,
      url: worker.url ?? `http://${worker.name}:8080`,
      gpu: worker.profile,
      // One for a worker without a GPU as well: what gives it away is its memory.
      gpu_count: 1,
      ...(worker.tellsLoaded === false ? {} : { loaded_models: worker.healthy ? toldLoaded(cluster, worker) : [] }),
      queue_depth: 0,
      memory_used_bytes: 0,
      memory_total_bytes: worker.memoryTotalBytes,
      healthy: worker.healthy,
      bundle: worker.bundle,
      bundle_config_hash: '',
      ...newer(worker.healthy),
    })),
    models: loaded.map((name) => ({ name, state: 'loaded', worker_count: 1, gpu_types: [], total_queue_depth: 0 })),
  };
}

/** What the gateway has heard of a worker so far. */
function toldLoaded(cluster: Cluster, worker: GatewayWorker): string[] {
  const { staleLooks = 0 } = worker;
  if (staleLooks === 0) return cluster.loadedOn(worker);
  worker.staleLooks = staleLooks - 1;
  return worker.warm ?? [];
}

/** `GET /v1/models` of a gateway: since 0.10 it is an OpenAI list as well. */
export function gatewayModels(cluster: Cluster, dialect: Dialect): Record<string, unknown> {
  const ids = Object.keys(cluster.models);
  const models = ids.map((id) => gatewayModel(cluster, id, dialect));
  if (dialect === '0.3') return { models };
  const data = ids.map((id) => ({ id, object: 'model', created: 1_700_000_000, owned_by: 'sie' }));
  return { object: 'list', data, models };
}

/** One element of it: a gateway never knows that a model has failed, and one of 0.3 not what a model gives. */
export function gatewayModel(cluster: Cluster, id: string, dialect: Dialect): Record<string, unknown> {
  const model = cluster.models[id];
  const loaded = cluster.state(id) === 'loaded';
  const workers = cluster.workers.filter((worker) => worker.healthy && cluster.loadedOn(worker).includes(id));
  if (dialect === '0.3')
    return {
      name: id,
      bundles: [bundleOf(model)],
      worker_count: workers.length,
      workers: workers.map(({ name, url }) => url ?? `http://${name}:8080`),
      loaded,
    };
  return {
    ...described(id, model),
    loaded,
    state: loaded ? 'loaded' : 'available',
    last_error: null,
    profiles: { default: { is_default: true } },
    capabilities: { lora_adapters: null, profile_lora_adapters: null, grammar: null, tools: null },
    ...(model?.revision === undefined ? {} : { revision: model.revision }),
    aliases: model?.aliases ?? [],
  };
}

/** One element of `GET /v1/models` of a worker. @param process since 0.10 it names the one that serves the model */
export function workerModel(cluster: Cluster, id: string, dialect: Dialect, process: string): Record<string, unknown> {
  const model = cluster.models[id];
  const state = cluster.state(id);
  const code = model?.errorClass ?? 'NOT_FOUND';
  const failure = { code, message: `cannot load ${id}`, attempts: 1, permanent: true };
  const remote = { remote_contract_sha256: null, remote_execution_sha256: null };
  const signed = { identity: null, ...remote, runtime_instance_id: process };
  const newer = {
    revision: model?.revision ?? null,
    capabilities: null,
    routing: { policy: null, upstream_kind: null },
  };
  return {
    ...described(id, model),
    loaded: state === 'loaded',
    state,
    last_error: state === 'failed' ? failure : null,
    profiles: { default: { is_default: true, ...(dialect === '0.3' ? {} : signed) } },
    ...(dialect === '0.3' ? {} : newer),
  };
}

function described(id: string, model: GatewayModel | undefined): Record<string, unknown> {
  return {
    name: id,
    inputs: ['text'],
    outputs: model?.outputs ?? ['dense'],
    dims: { dense: model?.dim ?? 0 },
    max_sequence_length: 512,
  };
}

/** The SIE bundle of a model. */
export function bundleOf(model: GatewayModel | undefined): string {
  return model?.bundle ?? 'default';
}
