import { afterEach, beforeEach } from 'vitest';
import type { Context } from '../../src/commands/context.ts';
import { copy } from '../../src/commands/copy.ts';
import { MirrorError } from '../../src/core/errors.ts';
import { testContext } from './context.ts';
import { temporaryDirectory } from './place.ts';
import { startRegistry, type TestRegistry } from './registry.ts';

/** A directory, a registry, and what a command needs to run in the one and speak to the other. */
class ZonePlace {
  path = '';
  zone!: TestRegistry;
  context!: Context;

  /** Copies with all that refers to it. @returns the digest of what was copied @throws also what did not come along */
  async toZone(source: string, target = 'app:x'): Promise<string | undefined> {
    const options = { source, target: `${this.zone.host}/${target}`, referrers: true };
    const { items } = await copy(options, this.context);
    const [error] = items.flatMap((item) => item.error ?? []);
    if (error) throw new MirrorError(error.code, error.message, { at: error.at });
    return items[0]?.digest;
  }
}

/** A fresh one for each test of the file. */
export function zonePlace(): ZonePlace {
  const place = new ZonePlace();
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  beforeEach(async () => {
    directory = await temporaryDirectory();
    place.path = directory.path;
    place.zone = await startRegistry();
    ({ context: place.context } = await testContext({ cwd: place.path, insecureHosts: [place.zone.host] }));
  });
  afterEach(async () => {
    await place.context.close();
    await place.zone.close();
    await directory[Symbol.asyncDispose]();
  });
  return place;
}
