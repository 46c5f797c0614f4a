import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../fs/atomic.ts';
import { ifThere } from '../../fs/if-there.ts';
import type { SnapshotPlan } from '../../hub/snapshot/snapshot-plan.ts';
import { loadManifest } from '../../manifest/load.ts';
import { type Lock, type LockedModel, lockSchemaId } from '../../manifest/schema.ts';

export const lockFile = 'mirror.lock.json';

/** Name of a store, and of a bundle made of it, that no mirror manifest has named. */
export const defaultName = 'sie-mirror-bundle';

/** What a store says of itself; undefined for one that nothing has been put into by a plan. @throws E_MANIFEST, E_CORRUPT */
export async function readLock(store: string): Promise<Lock | undefined> {
  const text = await ifThere(readFile(join(store, lockFile), 'utf8'));
  if (text === undefined) return undefined;
  const loaded = await loadManifest(text, lockFile);
  return loaded.kind === 'lock' ? loaded.lock : undefined;
}

export function formatLock(lock: Lock): string {
  return `${JSON.stringify(lock, undefined, 1)}\n`;
}

/** Nothing is written when it says so already. */
export async function writeLock(store: string, lock: Lock): Promise<void> {
  const path = join(store, lockFile);
  const text = formatLock(lock);
  if ((await readFile(path, 'utf8').catch(() => '')) !== text) await writeFileAtomic(path, text);
}

/**
 * The lock with these repos in it. They take the place of what was fetched before under the same name, and of other
 * commits of their repos that only `refs/main` led to, for that leads to these now.
 */
export function withModels(lock: Lock | undefined, plans: readonly SnapshotPlan[]): Lock {
  const before = lock ?? { schema: lockSchemaId, name: defaultName, models: [], images: [], files: [] };
  const isReplaced = (model: LockedModel): boolean =>
    plans.some(
      (plan) =>
        plan.type === model.type &&
        plan.repo === model.repo &&
        (plan.revision === model.revision ||
          model.revision === 'main' ||
          plan.commit === model.commit ||
          /^[0-9a-f]{40}$/.test(model.revision)),
    );
  const models = [...before.models.filter((model) => !isReplaced(model)), ...plans];
  return { ...before, models };
}

/**
 * The lock with what an earlier run has found out: a single file stays held to the sha256 of its first use, whatever its
 * server says today.
 */
export function remembering(lock: Lock, before: Lock | undefined): Lock {
  const known = knownSha256(before);
  const used = new Map((before?.files ?? []).map((file) => [file.url, file]));
  const models = lock.models.map((model) => ({
    ...model,
    files: model.files.map((file) => ({ ...file, sha256: file.sha256 ?? known.get(file.checksum.hex) })),
  }));
  const files = lock.files.map((file) => {
    const { size, sha256 } = used.get(file.url) ?? {};
    if (file.sha256 !== undefined || sha256 === undefined) return file;
    return { ...file, ...(size === undefined ? {} : { size }), sha256 };
  });
  return { ...lock, models, files };
}

/** sha256 of files that the hub knows by git's hash, by that. */
export function knownSha256(lock: Lock | undefined): Map<string, string> {
  const known = new Map<string, string>();
  for (const { files, notices = [] } of lock?.models ?? [])
    for (const { checksum, sha256 } of [...files, ...notices])
      if (sha256 !== undefined) known.set(checksum.hex, sha256);
  return known;
}
