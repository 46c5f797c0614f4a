import { vi } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import type { Context } from '../../src/commands/context.ts';
import { importBundle } from '../../src/commands/import.ts';
import type { ImportOptions } from '../../src/commands/import/options.ts';
import { snapshot } from '../../src/commands/snapshot.ts';
import type { Event } from '../../src/core/events.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from './context.ts';
import { startHub } from './hub.ts';
import { temporaryDirectory } from './place.ts';
import { startS3, type TestS3 } from './s3.ts';
import { s3Env, testKeys } from './s3-env.ts';
import { stubEnv } from './stub-env.ts';
import { placeTool } from './tool.ts';

export interface MadeBundle extends AsyncDisposable {
  /** Where commands run; the bundle is `usb/b` there. */
  path: string;
  commits: Record<string, string>;
  s3: TestS3;
  /** Runs `import` in this process, with the store's address in the environment. */
  bring(options: Partial<ImportOptions>): Promise<Report>;
  /** What the last of these runs told. */
  events: Event[];
  /** The same for another command. */
  within<T>(work: (context: Context) => Promise<T>): Promise<T>;
  /** Requests to the store since the last call, as `METHOD path`. */
  requests(): string[];
}

/**
 * A bundle of small volumes with these models, files by path, and an empty S3 store with the bucket `models`.
 * @param options another name, or the store of a bundle that was made before
 */
export async function makeBundle(
  models: Record<string, Record<string, Buffer>>,
  { name = 'b', s3: given }: { name?: string; s3?: TestS3 } = {},
): Promise<MadeBundle> {
  const place = await temporaryDirectory();
  const hub = await startHub();
  const commits = Object.fromEntries(
    Object.entries(models).map(([id, files]) => [id, hub.addRepo({ id, files }).commit]),
  );
  const tool = await placeTool(place.path);
  const online = await testContext({ cwd: place.path, env: { HF_ENDPOINT: hub.url }, toolFile: tool });
  await snapshot({ repos: Object.keys(models), store: 'store' }, online.context);
  await bundle({ store: 'store', out: 'usb', name, volumeSize: 80 * 1024 }, online.context);
  await online.context.close();
  await hub.close();
  const s3 = given ?? (await startS3({ buckets: ['models'], pageSize: 7, ...testKeys }));
  const env = s3Env(s3.url);
  stubEnv(env);
  const events: Event[] = [];
  const within = async <T>(work: (context: Context) => Promise<T>): Promise<T> => {
    const { context } = await testContext({ cwd: place.path, env });
    try {
      return await work(context);
    } finally {
      await context.close();
    }
  };
  return {
    path: place.path,
    commits,
    s3,
    events,
    bring: async (options) => {
      const run = await testContext({ cwd: place.path, env });
      try {
        return await importBundle({ bundle: `usb/${name}`, ...options }, run.context);
      } finally {
        events.splice(0, events.length, ...run.events);
        await run.context.close();
      }
    },
    within,
    requests: () => s3.server.requests.splice(0).map(({ method, path }) => `${method} ${path}`),
    [Symbol.asyncDispose]: async () => {
      if (!given) {
        vi.unstubAllEnvs();
        await s3.close();
      }
      await place[Symbol.asyncDispose]();
    },
  };
}
