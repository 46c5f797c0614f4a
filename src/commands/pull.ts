import { bytesOf, makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { ensureWritable } from '../fs/atomic.ts';
import type { DenyRule } from '../hub/safety/policy.ts';
import type { LockedModel } from '../manifest/schema.ts';
import type { Context } from './context.ts';
import { fetchModels } from './store/fetch-models.ts';
import { needOfFiles, pullFiles, sweepFiles } from './store/files.ts';
import { reportFreed } from './store/freed.ts';
import { probeGates } from './store/models.ts';
import { loadFile, resolveManifest } from './plan.ts';
import { needOfImages } from './pull/image-space.ts';
import { pullImages } from './pull/images.ts';
import { safetyLines } from './store/safety.ts';
import { knownSha256, readLock, remembering, writeLock } from './store/store-lock.ts';

export interface PullOptions {
  /** A mirror manifest or a lock. */
  manifest: string;
  store: string;
  /** What must not come; nothing is fetched when a model has some. */
  deny?: readonly DenyRule[] | undefined;
  /** Read every byte of what is there, and fetch again what was changed. */
  verify?: boolean | undefined;
}

/**
 * Everything that a mirror manifest or lock names, into the store. What cannot be fetched is a failed item.
 * @throws E_NOT_FOUND, E_MANIFEST, E_REFUSED while another process works in the store, E_NO_SPACE
 */
export async function pull(options: PullOptions, context: Context): Promise<Report> {
  const loaded = await loadFile(options.manifest, context);
  const store = context.path(options.store);
  await ensureWritable(store);
  await context.lock(store);
  const resolved: ReportItem[] = [];
  const wanted = loaded.kind === 'lock' ? loaded.lock : await resolveManifest(loaded.manifest, resolved, context);
  const before = await readLock(store);
  const lock = remembering(wanted, before);
  const items = resolved.filter(({ state }) => state === 'failed');
  const isComplete = items.length === 0;
  const known = knownSha256(before);
  if (isComplete) await writeLock(store, lock);
  // The gates of a mirror manifest were tried when it was resolved.
  const shut = loaded.kind === 'lock' ? await probeGates(lock.models, items, context) : new Set();
  const open = lock.models.filter((model) => !shut.has(model));
  const { deny, verify = false } = options;
  const besides = [await needOfFiles(lock.files, store), needOfImages(lock.images, store, context)];
  const whole = await fetchModels(open, items, store, context, { known, deny, verify, besides });
  const isRefused = items.some(({ error }) => error?.code === 'E_POLICY');
  const files = isRefused ? lock.files : await pullFiles(lock.files, items, store, context, verify);
  if (!isRefused) await pullImages(lock.images, items, store, context, verify);
  if (items.every(({ state }) => state !== 'failed')) reportFreed(await sweepFiles(files, store), context);
  if (isComplete) await writeLock(store, { ...lock, models: lock.models.map((model) => wholeOf(model, whole)), files });
  const good = items.filter(({ state }) => state !== 'failed');
  const bytes = bytesOf(good);
  const summary = good.flatMap((item) => [
    `${item.name}  ${item.state === 'present' ? 'was there already' : `${formatBytes(item.bytes ?? 0)} fetched`}`,
    ...safetyLines([item]),
  ]);
  summary.push(
    `${plural(good.length, 'item')} in ${options.store}, ${formatBytes(bytes)} fetched; seal them with \`sie-mirror bundle --store ${options.store} --out DIR\``,
  );
  return makeReport('pull', items, { items: items.length, bytes }, summary);
}

/** The same repo with the hashes that are known now. */
function wholeOf(model: LockedModel, whole: readonly LockedModel[]): LockedModel {
  const found = whole.find(
    ({ type, repo, revision }) => type === model.type && repo === model.repo && revision === model.revision,
  );
  return found ?? model;
}
