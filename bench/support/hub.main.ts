import { seededBytes } from '../../test/support/seeded-bytes.ts';
import { startHub } from '../../test/support/hub.ts';
import type { RepoFiles } from '../../test/support/hub-repo.ts';
import { type HubPlan, largeRepo, smallRepo } from './hub-process.ts';

/** The hub of the tests in a process of its own, with one repo of one large file and one of many small files. */
const plan = JSON.parse(process.argv[2] ?? '') as HubPlan;
// Nobody's limits and nobody's gzip are what is measured.
const hub = await startHub({ limits: { api: 1e9, resolvers: 1e9 }, gzip: false });
hub.addRepo({ id: largeRepo, files: { 'model.safetensors': seededBytes('large', plan.largeBytes) } });
const small: RepoFiles = {};
for (let index = 1; index <= plan.small; index += 1)
  small[`extra/${index % 10}/part-${String(index).padStart(5, '0')}.json`] = seededBytes(
    `small ${index}`,
    plan.smallBytes,
  );
hub.addRepo({ id: smallRepo, files: small });
process.send?.({ url: hub.url });

process.on('message', (question) => {
  if (question !== 'counts') return;
  process.send?.({ hub: counted(hub.server.requests), cdn: counted(hub.cdn.requests) });
  hub.server.requests.length = 0;
  hub.cdn.requests.length = 0;
});
process.on('disconnect', () => process.exit());

/** `GET /api 2, GET /resolve 1500`, by method and kind of path. */
function counted(requests: readonly { method: string; path: string }[]): string {
  const counts = new Map<string, number>();
  for (const { method, path } of requests) {
    const kind = /\/(resolve-cache|resolve|tree|revision)\//.exec(path)?.[1] ?? 'other';
    counts.set(`${method} ${kind}`, (counts.get(`${method} ${kind}`) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${kind} ${count}`).join(', ') || 'none';
}
