import type { Cluster, GatewayWorker } from './sie-cluster.ts';

/** `GET /metrics` of a worker of 0.3, as prometheus_client writes what `sie_server` 0.3.4 counts of its work. */
export function workerMetrics(cluster: Cluster, worker: GatewayWorker): string {
  const rows = Object.keys(cluster.models).map((id) => ({ id, work: cluster.workOf(worker, id) }));
  const own = rows.filter(({ work }) => work.itself > 0);
  const queued = rows.filter(({ work }) => work.queue > 0);
  return [
    '# HELP sie_requests_total Total number of requests processed',
    '# TYPE sie_requests_total counter',
    ...own.map(
      ({ id, work }) => `sie_requests_total{endpoint="encode",model="${id}",status="success"} ${work.itself}.0`,
    ),
    ...own.map(({ id }) => `sie_requests_total{endpoint="encode",model="${id}",status="error"} 7.0`),
    '# HELP sie_pull_loop_items_fetched Number of items fetched per pull cycle',
    '# TYPE sie_pull_loop_items_fetched histogram',
    ...queued.flatMap(({ id, work }) => [
      `sie_pull_loop_items_fetched_bucket{le="1.0",model="${id}"} ${work.queue}.0`,
      `sie_pull_loop_items_fetched_bucket{le="+Inf",model="${id}"} ${work.queue}.0`,
      `sie_pull_loop_items_fetched_count{model="${id}"} ${work.queue}.0`,
      `sie_pull_loop_items_fetched_sum{model="${id}"} ${work.queue}.0`,
    ]),
    '',
  ].join('\n');
}
