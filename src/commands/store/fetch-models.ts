import { totalSize } from '../../core/descriptor.ts';
import type { ReportItem } from '../../core/report.ts';
import { HashPool } from '../../fs/hash-pool.ts';
import { sweepRepos } from '../../hub/snapshot/leftovers.ts';
import type { DenyRule } from '../../hub/safety/policy.ts';
import { isMainOf } from '../../hub/snapshot/refs.ts';
import type { RepoFile } from '../../hub/repo.ts';
import { fetchSnapshot, type SnapshotTally } from '../../hub/snapshot/snapshot.ts';
import { missingBytes, type SnapshotPlan, unique } from '../../hub/snapshot/snapshot-plan.ts';
import { sharedFrom } from '../../hub/snapshot/adopt.ts';
import { attempt } from '../attempt.ts';
import type { Context } from '../context.ts';
import { reportFreed } from './freed.ts';
import { wantsSymlinks } from './models.ts';
import { checkSafety, judgePlans, type SafetySummary } from './safety.ts';
import { checkSpace, type Need } from './space.ts';

export interface FetchModelsOptions {
  verify?: boolean | undefined;
  /** Another Hugging Face cache, as an absolute path. */
  adopt?: string | undefined;
  read?: ReadonlyMap<string, Buffer> | undefined;
  /** sha256 of files that the hub knows by git's hash, by that. */
  known?: ReadonlyMap<string, string> | undefined;
  /** What must not come; nothing of any repo is fetched when one of them has some. */
  deny?: readonly DenyRule[] | undefined;
  /** What will come into the store beside the repos. */
  besides?: readonly Need[] | undefined;
}

/**
 * Fetches planned repos one after the other. One that fails becomes an item, and the others go on.
 * @returns the plans that are whole now, each file with its sha256
 * @throws E_NO_SPACE before anything is fetched
 */
export async function fetchModels(
  plans: readonly SnapshotPlan[],
  items: ReportItem[],
  store: string,
  context: Context,
  options: FetchModelsOptions = {},
): Promise<SnapshotPlan[]> {
  const deny = options.deny ?? [];
  const judged = await judgePlans(context.hub(), plans, deny, items, context);
  const symlinks = wantsSymlinks(context);
  // After a refusal nothing else comes, either.
  if (judged.length > 0 || plans.length === 0)
    await checkSpace(store, [await needOf(judged, store, symlinks, options.adopt), ...(options.besides ?? [])]);
  const whole: SnapshotPlan[] = [];
  let pool: HashPool | undefined;
  try {
    const hashing = (): HashPool => (pool ??= new HashPool(context.threads, () => {}, context.signal));
    for (const plan of judged) {
      const name = `${plan.repo}@${plan.commit}`;
      context.report({ type: 'stage', text: `fetching ${name}` });
      context.report({ type: 'total', bytes: totalSize([...unique(plan.files), ...(plan.notices ?? [])]) });
      await attempt(items, plan.type, name, async () => {
        const all = { ...options, slots: context.slots, report: context.report, signal: context.signal };
        let safety: SafetySummary | undefined;
        const beforeRefs = async (): Promise<void> => {
          safety = await checkSafety(plan, store, deny, context);
        };
        const isMain = isMainOf(plan, plans);
        const how = { ...all, symlinks, pool: hashing, isMain, beforeRefs };
        const tally = await fetchSnapshot(context.hub(), store, plan, how);
        reportFreed(tally.freed, context);
        const { files, notices } = tally;
        whole.push({ ...plan, files, ...(plan.notices ? { notices } : {}) });
        const state = tally.fetched + tally.adopted === 0 ? 'present' : 'done';
        context.report({ type: 'item', item: name, state, bytes: tally.fetchedBytes });
        items.push({
          kind: plan.type,
          name,
          state,
          bytes: tally.fetchedBytes,
          detail: { ...detailOf(plan, tally), safety },
        });
      });
    }
  } finally {
    await pool?.[Symbol.asyncDispose]();
  }
  reportFreed(await sweepRepos(store), context);
  return whole;
}

function detailOf(plan: SnapshotPlan, tally: SnapshotTally): Record<string, unknown> {
  const { repo, revision, commit, canonical, filter, namedBy, files } = plan;
  const { fetched, adopted, present, removed, freed } = tally;
  return {
    repo,
    revision,
    commit,
    canonical,
    files: files.length,
    fetched,
    present,
    ...(adopted > 0 ? { adopted } : {}),
    ...(removed > 0 ? { removed } : {}),
    ...(freed.files > 0 ? { freed } : {}),
    ...(filter ? { filter } : {}),
    ...(namedBy ? { namedBy } : {}),
  };
}

async function needOf(
  plans: readonly SnapshotPlan[],
  store: string,
  symlinks: boolean,
  adopt: string | undefined,
): Promise<Need> {
  const count = async (isShared?: (plan: SnapshotPlan, file: RepoFile) => Promise<boolean>): Promise<number> => {
    let bytes = 0;
    for (const plan of plans) bytes += await missingBytes(store, plan, symlinks, isShared);
    return bytes;
  };
  const atMost = await count();
  return {
    atMost,
    exactly: () => (adopt === undefined ? Promise.resolve(atMost) : count(sharedFrom(adopt, store))),
  };
}
