import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { totalSize } from '../core/descriptor.ts';
import { MirrorError } from '../core/errors.ts';
import { bytesOf, makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural, printable } from '../core/text.ts';
import { ensureWritable } from '../fs/atomic.ts';
import { everything, type Filter, idlePatterns } from '../hub/selection/filter.ts';
import type { DenyRule } from '../hub/safety/policy.ts';
import { isFileLike, parseRepo, type RepoType } from '../hub/repo.ts';
import { checkOffline } from './verify/check-store.ts';
import type { Context } from './context.ts';
import { fetchModels } from './store/fetch-models.ts';
import type { PlannedModel } from './store/model-parts.ts';
import { type ModelRequest, planModels } from './store/models.ts';
import { safetyLines } from './store/safety.ts';
import { knownSha256, readLock, withModels, writeLock } from './store/store-lock.ts';

export interface SnapshotOptions {
  repos: readonly string[];
  store: string;
  type?: RepoType | undefined;
  /** What of each repo; companions come with the same preset. */
  filter?: Filter | undefined;
  companions?: boolean | undefined;
  /** List what would be fetched, and fetch nothing. */
  dryRun?: boolean | undefined;
  /** Another Hugging Face cache to take files from. */
  adopt?: string | undefined;
  /** Read every byte of what is there. */
  verify?: boolean | undefined;
  /** Compare the store with its lock, and ask nobody. */
  offline?: boolean | undefined;
  /** What must not come; nothing of any repo is fetched when one of them has some. */
  deny?: readonly DenyRule[] | undefined;
}

/**
 * Hugging Face repos into the store's cache. What cannot be fetched is a failed item.
 * @throws E_USAGE, E_REFUSED while another process works in the store, E_NO_SPACE
 */
export async function snapshot(options: SnapshotOptions, context: Context): Promise<Report> {
  const requests = requestsOf(options);
  const store = context.path(options.store);
  if (options.offline) return checkOffline(requests, store, context);
  if (requests.length === 0)
    throw new MirrorError('E_USAGE', 'no repo was named', { hint: 'name one, e.g. `sie-mirror snapshot BAAI/bge-m3`' });
  const adopt = options.adopt === undefined ? undefined : await otherCache(options.adopt, context);
  const items: ReportItem[] = [];
  if (options.dryRun) {
    const { models } = await planModels(requests, items, context, { held: (await readLock(store))?.models ?? [] });
    refuseFiles(requests, items);
    warnOfIdle(options, models, context);
    return dryRunReport(models, items);
  }
  await ensureWritable(store);
  await context.lock(store);
  const lock = await readLock(store);
  const { models, read } = await planModels(requests, items, context, { store, held: lock?.models ?? [] });
  refuseFiles(requests, items);
  warnOfIdle(options, models, context);
  const plans = await fetchModels(
    models.map(({ plan }) => plan),
    items,
    store,
    context,
    {
      verify: options.verify,
      adopt,
      read,
      known: knownSha256(lock),
      deny: options.deny,
    },
  );
  if (plans.length > 0) await writeLock(store, withModels(lock, plans));
  return fetchReport(options.store, items);
}

/** A misspelt cache would cost a long download. @throws E_NOT_FOUND */
async function otherCache(directory: string, context: Context): Promise<string> {
  const path = context.path(directory);
  const names = await readdir(path).catch(() => undefined);
  if (names === undefined)
    throw new MirrorError('E_NOT_FOUND', `there is no directory \`${directory}\` to adopt files from`, {
      hint: 'give what HF_HUB_CACHE points at, e.g. `~/.cache/huggingface/hub`',
      at: { item: directory },
    });
  if (names.includes('snapshots') && names.includes('refs'))
    throw new MirrorError('E_NOT_FOUND', `\`${directory}\` is one repo of a cache, and no cache`, {
      hint: `give \`--adopt ${dirname(directory)}\``,
      at: { item: directory },
    });
  if (names.includes('hub') && !names.some((name) => /^(?:model|dataset|space)s--/.test(name)))
    throw new MirrorError('E_NOT_FOUND', `there are no repos in \`${directory}\` to adopt files from`, {
      hint: `give \`--adopt ${join(directory, 'hub')}\``,
      at: { item: directory },
    });
  return path;
}

/**
 * `hf download` takes files behind the repo. Who writes so here does not want all of the repo, of which nothing has come yet.
 * @throws E_USAGE
 */
function refuseFiles([first, ...others]: readonly ModelRequest[], items: readonly ReportItem[]): void {
  const missing = new Set(items.filter(({ error }) => error?.code === 'E_NOT_FOUND').map(({ name }) => name));
  const file = others.find(({ repo, revision }) => isFileLike(repo) && missing.has(`${repo}@${revision}`));
  if (first && file)
    throw new MirrorError('E_USAGE', `there is no repo \`${file.repo}\`, and it looks like a file`, {
      hint: `for a file of \`${first.repo}\` write \`${first.repo} --include ${file.repo}\``,
      at: { item: file.repo },
    });
}

/** What a misspelt pattern leaves out is missed only in the zone. */
function warnOfIdle({ filter }: SnapshotOptions, models: readonly PlannedModel[], { report }: Context): void {
  const named = models.filter(({ plan }) => plan.namedBy === undefined);
  const paths = named.flatMap(({ choices }) => choices.map(({ file }) => file.path));
  if (named.length > 0)
    for (const pattern of idlePatterns(filter?.include ?? [], paths))
      report({ type: 'warning', text: `no file fits \`--include ${printable(pattern)}\`` });
}

function requestsOf({ repos, type, filter = everything, companions = false }: SnapshotOptions): ModelRequest[] {
  return repos.map((text) => ({ ...parseRepo(text, type), filter, companions }));
}

function fetchReport(store: string, items: ReportItem[]): Report {
  const bytes = bytesOf(items);
  const good = items.filter(({ state }) => state !== 'failed');
  const summary = good.flatMap((item) => [
    `${item.name}  ${item.state === 'present' ? 'was there already' : `${formatBytes(item.bytes ?? 0)} fetched`}${besidesText(item)}`,
    ...safetyLines([item]),
  ]);
  if (good.length > 0)
    summary.push(
      `${plural(good.length, 'repo')} in ${store}/hub, ${formatBytes(bytes)} fetched; read it with HF_HUB_CACHE=${store}/hub HF_HUB_OFFLINE=1`,
    );
  return makeReport('snapshot', items, { repos: items.length, bytes }, summary);
}

function besidesText({ detail }: ReportItem): string {
  const adopted = detail?.['adopted'];
  const removed = detail?.['removed'];
  return [
    typeof adopted === 'number' ? `, ${plural(adopted, 'file')} taken from the other cache` : '',
    typeof removed === 'number' ? `, ${plural(removed, 'file')} of an earlier run taken out` : '',
  ].join('');
}

/** Each file with the reason why it is in or out; for people a line each, for programs `detail.files`. */
function dryRunReport(models: readonly PlannedModel[], items: ReportItem[]): Report {
  const summary: string[] = [];
  let [bytes, files] = [0, 0];
  for (const { plan, choices } of models) {
    const name = `${plan.repo}@${plan.commit}`;
    const wanted = choices.filter(({ place }) => place !== 'out').map(({ file }) => file);
    const size = totalSize(wanted);
    bytes += size;
    files += wanted.length;
    const { revision, commit, canonical, gated, license, namedBy } = plan;
    const because = namedBy?.map(({ repo, file, key }) => `${repo}/${file}: ${key}`).join(', ');
    summary.push(because === undefined ? name : `${name}  named by ${because}`);
    for (const { file, place, reason } of choices)
      summary.push(
        `  ${place === 'out' ? 'out' : 'in '}  ${formatBytes(file.size).padStart(9)}  ${printable(file.path)}  (${reason})`,
      );
    items.push({
      kind: plan.type,
      name,
      state: 'done',
      bytes: size,
      detail: {
        repo: plan.repo,
        revision,
        commit,
        canonical,
        gated,
        ...(license === undefined ? {} : { license }),
        ...(namedBy ? { namedBy } : {}),
        files: choices.map(({ file, place, reason }) => ({ path: file.path, size: file.size, place, reason })),
      },
    });
  }
  summary.push(
    `${plural(models.length, 'repo')}, ${plural(files, 'file')}, ${formatBytes(bytes)}; nothing was fetched`,
  );
  return makeReport('snapshot', items, { repos: models.length, files, bytes }, summary);
}
