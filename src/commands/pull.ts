import { join } from 'node:path';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { ensureWritable, writeFileAtomic } from '../fs/atomic.ts';
import type { LockedImage } from '../manifest/schema.ts';
import { attempt } from './attempt.ts';
import type { Context } from './context.ts';
import { moveImage, wholeImage } from './copy-image.ts';
import { openSource, openTarget } from './endpoint.ts';
import { formatLock, loadFile, resolveManifest } from './plan.ts';
import { fetchModels } from './snapshot.ts';
import { lockFile } from './store.ts';

export interface PullOptions {
  /** A mirror manifest or a lock. */
  manifest: string;
  store: string;
}

/** Everything that a mirror manifest or lock names, into the store. */
export async function pull(options: PullOptions, context: Context): Promise<Report> {
  const loaded = await loadFile(options.manifest, context);
  const store = context.path(options.store);
  await ensureWritable(store);
  await context.lock(store);
  const resolved: ReportItem[] = [];
  const lock = loaded.kind === 'lock' ? loaded.lock : await resolveManifest(loaded.manifest, resolved, context);
  const unresolved = resolved.filter(({ state }) => state === 'failed');
  if (unresolved.length === 0) await writeFileAtomic(join(store, lockFile), formatLock(lock));
  const items = [
    ...unresolved,
    ...(await fetchModels(
      lock.models.map((model) => ({ ...model, license: model.license })),
      store,
      context,
    )),
  ];
  for (const image of lock.images)
    await attempt(items, 'image', image.reference, () => pullImage(image, store, items, context));
  const good = items.filter(({ state }) => state !== 'failed');
  const bytes = good.reduce((sum, item) => sum + (item.bytes ?? 0), 0);
  const summary = good.map(
    ({ name, state, bytes: moved = 0 }) =>
      `${name}  ${state === 'present' ? 'was there already' : `${formatBytes(moved)} fetched`}`,
  );
  summary.push(
    `${plural(good.length, 'item')} in ${options.store}, ${formatBytes(bytes)} fetched; seal them with \`sie-mirror bundle --store ${options.store} --out DIR\``,
  );
  return makeReport('pull', items, { items: items.length, bytes }, summary);
}

async function pullImage(image: LockedImage, store: string, items: ReportItem[], context: Context): Promise<void> {
  context.report({ type: 'stage', text: `copying ${image.reference}` });
  const from = await openSource(context, image.reference);
  const to = await openTarget(context, `oci:${join(store, 'oci')}`, from);
  const { tally } = await moveImage(from.source, to, image.root, wholeImage, context);
  const state = tally.copied === 0 ? 'present' : 'done';
  context.report({ type: 'item', item: image.reference, state, bytes: tally.copiedBytes });
  items.push({
    kind: 'image',
    name: image.reference,
    state,
    digest: image.root.digest,
    bytes: tally.copiedBytes,
    detail: { to: image.to, ...tally },
  });
}
