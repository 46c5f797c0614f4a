import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { vi } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import type { Context } from '../../src/commands/context.ts';
import { copy } from '../../src/commands/copy.ts';
import { importBundle } from '../../src/commands/import.ts';
import type { ImportOptions } from '../../src/commands/import/options.ts';
import { snapshot } from '../../src/commands/snapshot.ts';
import { verifyStore } from '../../src/commands/verify/store.ts';
import { verifyZone, type VerifyZoneOptions } from '../../src/commands/verify/zone.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from './context.ts';
import { temporaryDirectory } from './place.ts';
import { stubEnv } from './stub-env.ts';
import { placeTool } from './tool.ts';
import { dockerConfig, imageRepository, imageTag, modelId, startWorld, type World } from './world.ts';

/** A store with a model and an image, the bundle of it, and both in the zone: `s3://models/m` and `HOST/z`. */
export interface MadeZone extends AsyncDisposable {
  world: World;
  /** Where commands run: the store is `store`, the bundle `usb/b`, the receipt `b.receipt.json`. */
  path: string;
  models: 's3://models/m';
  images: string;
  /** Where the image is in the registry. */
  repository: string;
  bring(options?: Partial<ImportOptions>): Promise<Report>;
  verify(options?: Partial<VerifyZoneOptions>): Promise<Report>;
  verifyStore(): Promise<Report>;
  /** Puts the zone back to what the import had brought, and lets its servers work again. */
  restore(): void;
}

export async function makeZone(): Promise<MadeZone> {
  const place = await temporaryDirectory();
  const world = await startWorld();
  await mkdir(join(place.path, '.docker'));
  await writeFile(join(place.path, '.docker/config.json'), dockerConfig(world.zone));
  const tool = await placeTool(place.path);
  stubEnv(world.inside);
  const run = async (env: Record<string, string>, work: (context: Context) => Promise<Report>): Promise<Report> => {
    const insecureHosts = [world.source.host, world.zone.host];
    const { context } = await testContext({ cwd: place.path, env, insecureHosts, toolFile: tool, retries: 2 });
    try {
      return await work(context);
    } finally {
      await context.close();
    }
  };
  const source = `${world.source.host}/${imageRepository}:${imageTag}`;
  await run(world.online, (context) => snapshot({ repos: [modelId], store: 'store' }, context));
  await run({}, (context) => copy({ source, target: 'oci:store/oci', referrers: true }, context));
  await run({}, (context) => bundle({ store: 'store', out: 'usb', name: 'b' }, context));
  const models = 's3://models/m';
  const images = `${world.zone.host}/z`;
  const bring = (asked: Partial<ImportOptions> = {}): Promise<Report> =>
    run(world.inside, (context) => importBundle({ bundle: 'usb/b', models, images, ...asked }, context));
  await bring();
  const objects = new Map(
    [...world.s3.objects].map(([key, stored]) => [key, { ...stored, body: Buffer.from(stored.body) }]),
  );
  const restoreRegistry = world.zone.keep();
  return {
    world,
    path: place.path,
    models,
    images,
    repository: `z/${world.source.host.replace(':', '-')}/${imageRepository}`,
    bring,
    verify: (asked = {}) =>
      run(world.inside, (context) => verifyZone({ models, images, receipts: ['b.receipt.json'], ...asked }, context)),
    verifyStore: () => run({}, (context) => verifyStore('store', context)),
    restore: () => {
      world.s3.objects.clear();
      for (const [key, stored] of objects) world.s3.objects.set(key, { ...stored, body: Buffer.from(stored.body) });
      restoreRegistry();
      for (const server of [world.s3.server, world.zone.server]) {
        server.faults = undefined;
        server.requests.length = 0;
      }
    },
    [Symbol.asyncDispose]: async () => {
      vi.unstubAllEnvs();
      await world.close();
      await place[Symbol.asyncDispose]();
    },
  };
}
