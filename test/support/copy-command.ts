import { copy, type CopyCommandOptions } from '../../src/commands/copy.ts';
import type { Event } from '../../src/core/events.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from './context.ts';
import { temporaryDirectory } from './place.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from './registry.ts';

/** Two registries, a directory, and the command `copy` between them. */
export interface CopyWorld {
  source: TestRegistry;
  zone: TestRegistry;
  directory: string;
  /** Everything that the runs so far have told. */
  events: Event[];
  /** `SOURCE` and `ZONE` in source and target stand for the registries' hosts. */
  run: (options: Partial<CopyCommandOptions>) => Promise<Report>;
}

/** Each run has a context of its own, as each process has. */
export async function withCopyWorld(
  options: { source?: RegistryOptions; zone?: RegistryOptions },
  work: (world: CopyWorld) => Promise<void>,
): Promise<void> {
  await using place = await temporaryDirectory();
  const source = await startRegistry(options.source);
  const zone = await startRegistry(options.zone);
  const events: Event[] = [];
  const named = (text: string | undefined): string | undefined =>
    text?.replace('SOURCE', source.host).replace('ZONE', zone.host);
  const run = async (asked: Partial<CopyCommandOptions>): Promise<Report> => {
    const insecureHosts = [source.host, zone.host];
    const { context, events: told } = await testContext({ cwd: place.path, insecureHosts });
    try {
      return await copy(
        { referrers: true, ...asked, source: named(asked.source), target: named(asked.target) },
        context,
      );
    } finally {
      events.push(...told);
      await context.close();
    }
  };
  try {
    await work({ source, zone, directory: place.path, events, run });
  } finally {
    await source.close();
    await zone.close();
  }
}

/** What has been asked of a registry so far, as `METHOD path`. */
export function asked(registry: TestRegistry): string[] {
  return registry.server.requests.map(({ method, path }) => `${method} ${path}`);
}
