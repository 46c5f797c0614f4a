import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { ensureWritable } from '../fs/atomic.ts';
import { parseRepo, type RepoRequest } from '../hub/client.ts';
import { fetchSnapshot, planSnapshot, type SnapshotPlan } from '../hub/snapshot.ts';
import type { Context } from './context.ts';
import { attempt } from './attempt.ts';

export interface SnapshotOptions {
  repos: readonly string[];
  store: string;
}

/** Hugging Face repos into the store's cache. */
export async function snapshot(options: SnapshotOptions, context: Context): Promise<Report> {
  const requests = options.repos.map(parseRepo);
  const store = context.path(options.store);
  await ensureWritable(store);
  await context.lock(store);
  const items = await fetchModels(
    requests.map((request) => ({ ...request })),
    store,
    context,
  );
  const bytes = items.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
  const good = items.filter(({ state }) => state !== 'failed');
  const summary = good.map(
    (item) =>
      `${item.name}  ${item.state === 'present' ? 'was there already' : `${formatBytes(item.bytes ?? 0)} fetched`}`,
  );
  if (good.length > 0)
    summary.push(
      `${plural(good.length, 'repo')} in ${options.store}/hub, ${formatBytes(bytes)} fetched; read it with HF_HUB_CACHE=${options.store}/hub HF_HUB_OFFLINE=1`,
    );
  return makeReport('snapshot', items, { repos: items.length, bytes }, summary);
}

/** Fetches repos one after the other; those that are pinned already come with their files. */
export async function fetchModels(
  wanted: readonly (RepoRequest | SnapshotPlan)[],
  store: string,
  context: Context,
): Promise<ReportItem[]> {
  const hub = context.hub();
  const plans: SnapshotPlan[] = [];
  const items: ReportItem[] = [];
  for (const request of wanted) {
    const name = `${request.repo}@${request.revision}`;
    await attempt(items, 'model', name, async () => {
      if (!('files' in request)) context.report({ type: 'stage', text: `listing ${name}` });
      plans.push('files' in request ? request : await planSnapshot(hub, request));
    });
  }
  for (const plan of plans) {
    const name = `${plan.repo}@${plan.commit}`;
    context.report({ type: 'stage', text: `fetching ${name}` });
    context.report({ type: 'total', bytes: plan.files.reduce((sum, { size }) => sum + size, 0) });
    await attempt(items, 'model', name, async () => {
      const { fetched, fetchedBytes, present } = await fetchSnapshot(hub, store, plan, context);
      const state = fetched === 0 ? 'present' : 'done';
      context.report({ type: 'item', item: name, state, bytes: fetchedBytes });
      const detail = {
        repo: plan.repo,
        revision: plan.revision,
        commit: plan.commit,
        canonical: plan.canonical,
        files: plan.files.length,
        fetched,
        present,
      };
      items.push({ kind: 'model', name, state, bytes: fetchedBytes, detail });
    });
  }
  return items;
}
