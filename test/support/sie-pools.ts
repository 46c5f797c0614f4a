import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Cluster } from './sie-cluster.ts';
import { readBody, sendJson } from './server.ts';

/** The pools of a gateway: `/v1/pools`. */
export class Pools {
  /** Renewals of leases by pool. */
  readonly renewed: string[] = [];
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<boolean> {
    const body = await readBody(request);
    const [, name = '', verb = ''] = /^\/v1\/pools(?:\/([^/]+)(?:\/(renew))?)?$/.exec(path) ?? [];
    const key = `${request.method} ${name === '' ? '' : 'NAME'}${verb}`;
    if (key === 'GET ')
      return sendJson(response, 200, { pools: this.#cluster.pools().map((each) => this.#pool(each)) });
    if (key === 'POST ') return this.#create(response, body);
    if (!['GET NAME', 'POST NAMErenew', 'DELETE NAME'].includes(key)) return false;
    if (!this.#cluster.assigned(name)) return sendJson(response, 404, { message: `Pool '${name}' not found` });
    if (key === 'GET NAME') return sendJson(response, 200, this.#pool(name));
    if (key === 'DELETE NAME') this.#cluster.removePool(name);
    else this.renewed.push(name);
    return sendJson(response, 200, { message: key === 'DELETE NAME' ? 'Pool deleted' : 'Pool renewed' });
  }

  #create(response: ServerResponse, body: Buffer): true {
    const { name, gpus = {} } = JSON.parse(body.toString()) as { name?: string; gpus?: Record<string, number> };
    const unknown = Object.keys(gpus).find((profile) => !this.#cluster.configured.includes(profile));
    if (name === undefined || unknown !== undefined)
      return sendJson(response, 400, { message: `Unknown machine profile: ${unknown ?? 'none'}` });
    this.#cluster.addPool(name, Object.keys(gpus));
    return sendJson(response, 201, this.#pool(name));
  }

  #pool(name: string): unknown {
    const workers = this.#cluster.assigned(name) ?? [];
    const assigned = workers.map((worker) => ({
      name: worker.name,
      url: `http://${worker.name}:8080`,
      gpu: worker.profile,
    }));
    const state = assigned.length > 0 ? 'active' : 'pending';
    const spec = { name, bundle: null, gpus: {}, ttl_seconds: null, minimum_worker_count: 0 };
    return { spec, status: { state, assigned_workers: assigned, created_at: 0, last_renewed: 0 } };
  }
}
