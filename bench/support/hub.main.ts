import { startHub } from '../../test/support/hub.ts';
import type { RepoFiles } from '../../test/support/hub-repo.ts';
import { seededBytes } from '../../test/support/seeded-bytes.ts';
import { type HubPlan, largeFile, largeRepo, smallRepo, xetRepo } from './hub-process.ts';

/** The hub of the tests in a process of its own: a repo of one large file, the same with Xet, one of many small files. */
const plan = JSON.parse(process.argv[2] ?? '') as HubPlan;
let cdnAddress: string | undefined;
// Nobody's limits and nobody's gzip are what is measured.
const hub = await startHub({
  limits: { api: 1e9, resolvers: 1e9 },
  gzip: false,
  cdn: { address: () => cdnAddress },
  xet: { chunksInXorb: 1024 },
});
const large: RepoFiles = { [largeFile]: seededBytes('large', plan.largeBytes) };
hub.addRepo({ id: largeRepo, files: large });
if (plan.xet) hub.addRepo({ id: xetRepo, files: large, xet: true });
const small: RepoFiles = {};
for (let index = 1; index <= plan.small; index += 1)
  small[`extra/${index % 10}/part-${String(index).padStart(5, '0')}.json`] = seededBytes(
    `small ${index}`,
    plan.smallBytes,
  );
hub.addRepo({ id: smallRepo, files: small });
process.send?.({ url: hub.url, cdnUrl: hub.cdnUrl });

process.on('message', (question: { cdnAddress: string } | 'counts') => {
  if (question !== 'counts') {
    ({ cdnAddress } = question);
    process.send?.({});
    return;
  }
  const servers = { hub: hub.server, cdn: hub.cdn, xet: hub.xet.server };
  process.send?.(Object.fromEntries(Object.entries(servers).map(([name, { requests }]) => [name, counted(requests)])));
  for (const { requests } of Object.values(servers)) requests.length = 0;
});
process.on('disconnect', () => process.exit());

/** `GET tree 2, GET resolve 1500`, by method and kind of path. */
function counted(requests: readonly { method: string; path: string }[]): string {
  const counts = new Map<string, number>();
  for (const { method, path } of requests) {
    const kind = /\/(resolve-cache|resolve|tree|revision|reconstructions|xorbs)\//.exec(path)?.[1] ?? 'other';
    counts.set(`${method} ${kind}`, (counts.get(`${method} ${kind}`) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${kind} ${count}`).join(', ') || 'none';
}
