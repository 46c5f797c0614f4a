import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from '../../src/commands/context.ts';
import { snapshot, type SnapshotOptions } from '../../src/commands/snapshot.ts';
import type { Report, ReportItem } from '../../src/core/report.ts';
import type { Lock } from '../../src/manifest/schema.ts';
import { type TestContext, testContext } from './context.ts';
import { type HubOptions, startHub, type TestHub } from './hub.ts';
import { temporaryDirectory } from './place.ts';

/** A hub, and a place on the online side with a store that is filled from it. */
export interface HubPlace {
  hub: TestHub;
  directory: string;
  /** `STORE/hub` */
  cache: string;
  context: Context;
  events: TestContext['events'];
  snapshot(repos: string | readonly string[], options?: Partial<SnapshotOptions>): Promise<Report>;
  /** Another process's context, with more in its environment. */
  withEnv(env: Record<string, string>, retries?: number): Promise<HubPlace>;
  close(): Promise<void>;
}

/** Starts a hub and makes an empty place. */
export async function startHubPlace(options: HubOptions = {}, env: Record<string, string> = {}): Promise<HubPlace> {
  const hub = await startHub(options);
  const place = await temporaryDirectory();
  const made = await openPlace(hub, place.path, env, 2);
  return {
    ...made,
    close: async () => {
      await made.close();
      await place[Symbol.asyncDispose]();
      await hub.close();
    },
  };
}

async function openPlace(
  hub: TestHub,
  directory: string,
  env: Record<string, string>,
  retries: number,
): Promise<HubPlace> {
  const { context, events } = await testContext({ cwd: directory, env: { HF_ENDPOINT: hub.url, ...env }, retries });
  return {
    hub,
    directory,
    cache: join(directory, 'store/hub'),
    context,
    events,
    snapshot: (repos, more = {}) =>
      snapshot({ repos: typeof repos === 'string' ? [repos] : repos, store: 'store', ...more }, context),
    withEnv: (more, others = retries) => openPlace(hub, directory, { ...env, ...more }, others),
    close: () => context.close(),
  };
}

/** Requests for content and listings, by "METHOD path" without its query. */
export function requestsOf({ hub }: HubPlace): string[] {
  return hub.server.requests.map(({ method, path }) => `${method} ${path.split('?')[0] ?? ''}`);
}

/** The only item that failed. */
export function failureIn(report: Report): ReportItem {
  const [item, ...others] = report.items.filter(({ state }) => state === 'failed');
  if (!item || others.length > 0) throw new Error(`one failed item was expected, not ${others.length}`);
  return item;
}

/** The lock of the store. */
export async function readLockOf({ directory }: HubPlace): Promise<Lock> {
  return JSON.parse(await readFile(join(directory, 'store/mirror.lock.json'), 'utf8')) as Lock;
}

/** Bytes of a snapshot as a loader reads them, by path. */
export async function readSnapshot(cache: string, folder: string, commit: string): Promise<Record<string, string>> {
  const root = join(cache, folder, 'snapshots', commit);
  const found: Record<string, string> = {};
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    found[path.slice(root.length + 1)] = (await readFile(path)).toString('latin1');
  }
  return found;
}

/** Where the links of a snapshot lead; empty when it has none. */
export async function linksOf(cache: string, folder: string, commit: string): Promise<string[]> {
  const root = join(cache, folder, 'snapshots', commit);
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const links = entries.filter((entry) => entry.isSymbolicLink());
  return Promise.all(links.map((entry) => readlink(join(entry.parentPath, entry.name))));
}
