import { join } from 'node:path';
import type { Reporter } from '../core/events.ts';
import { forEachBySize, forEachLimited } from '../core/limit.ts';
import { counted } from '../core/stream.ts';
import { RepoCache } from './cache.ts';
import type { HubClient, RepoFile, RepoInfo, RepoRequest } from './client.ts';

/** A repo pinned to a commit, with every file that belongs to it. */
export interface SnapshotPlan extends RepoInfo {
  repo: string;
  revision: string;
  files: RepoFile[];
}

/** Calls of the file system wait for each other less than for us. */
const linksAtOnce = 16;

/** Two calls to the hub. @throws E_NOT_FOUND, E_GATED, E_AUTH */
export async function planSnapshot(hub: HubClient, request: RepoRequest): Promise<SnapshotPlan> {
  const info = await hub.info(request);
  return { ...request, ...info, files: await hub.files(request.repo, info.commit) };
}

export interface SnapshotTally {
  fetched: number;
  fetchedBytes: number;
  present: number;
}

/**
 * Brings the store's cache to what the plan says. Blobs first, longest first; then links, the list of files, and the
 * refs, so that no ref ever names a snapshot that is not whole.
 */
export async function fetchSnapshot(
  hub: HubClient,
  store: string,
  plan: SnapshotPlan,
  options: { slots: number; report: Reporter; signal?: AbortSignal | undefined },
): Promise<SnapshotTally> {
  const cache = new RepoCache(join(store, 'hub'), plan.repo);
  await cache.prepare();
  const tally: SnapshotTally = { fetched: 0, fetchedBytes: 0, present: 0 };
  await forEachBySize(unique(plan.files), options.slots, async (file) => {
    options.signal?.throwIfAborted();
    if (await cache.has(file)) {
      tally.present += 1;
      options.report({ type: 'bytes', bytes: file.size });
      return;
    }
    const content = counted(hub.content(plan.repo, plan.commit, file), (bytes) => {
      tally.fetchedBytes += bytes;
    });
    // What an earlier run left on disk is progress too, though nothing was fetched for it.
    const onBytes = (chunk: Uint8Array): void => options.report({ type: 'bytes', bytes: chunk.length });
    await cache.receive(file, content, `${plan.repo}/${file.path}`, { signal: options.signal, onBytes });
    tally.fetched += 1;
  });
  await forEachLimited(plan.files, linksAtOnce, (file) => cache.link(plan.commit, file));
  await cache.writeTree(plan.commit, plan.files);
  for (const revision of refsOf(plan)) await cache.writeRef(revision, plan.commit);
  return tally;
}

/** Files with the same bytes are fetched once. */
function unique(files: readonly RepoFile[]): RepoFile[] {
  return [...new Map(files.map((file) => [file.checksum.hex, file])).values()];
}

/** Loaders ask for `main` whatever was asked for here; a commit needs no ref of its own. */
function refsOf(plan: SnapshotPlan): string[] {
  const asked = /^[0-9a-f]{40}$/.test(plan.revision) ? [] : [plan.revision];
  return [...new Set([...asked, 'main'])];
}
