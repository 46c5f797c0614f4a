import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type RealServer, startDistribution } from '../../test/real/servers.ts';
import { type Proxy, startProxy } from '../../test/real/proxy.ts';
import type { Bench } from './bench-case.ts';
import type { Attempt, Contender } from './compare.ts';
import { type ImageSpec, writeImageLayout } from './image-layout.ts';
import { measure } from './measure.ts';
import { ours } from './ours.ts';

/** A registry that has the image, and a way to have an empty one for each run. */
export interface RegistryPair {
  ours: (name: string, flags?: readonly string[]) => Contender;
  crane: Contender;
  close: () => Promise<void>;
}

const repository = 'bench/image';

/** @param roundTripMs of both registries; 0 for none */
export async function openRegistryPair(bench: Bench, spec: ImageSpec, roundTripMs: number): Promise<RegistryPair> {
  const server = await startDistribution(join(bench.directory, 'source'));
  await fill(bench, server, spec);
  const near = await distant(server, roundTripMs);
  const source = `${near.host}/${repository}:bench`;
  const onFresh = (make: (host: string) => Attempt['command']): (() => Promise<Attempt>) => {
    return async () => {
      const target = await startDistribution(join(bench.directory, 'target'));
      const proxy = await distant(target, roundTripMs);
      const end = async (): Promise<void> => {
        await proxy.close();
        await target.stop();
        await rm(join(bench.directory, 'target'), { recursive: true });
      };
      return { command: make(proxy.host), end };
    };
  };
  const insecure = (host: string): string[] => ['--insecure-host', near.host, '--insecure-host', host];
  return {
    ours: (name, flags = []) => ({
      name,
      start: onFresh((host) =>
        ours(['copy', source, `${host}/${repository}:bench`, ...insecure(host), ...flags], bench.directory),
      ),
    }),
    crane: {
      name: 'crane copy',
      start: onFresh((host) => ({
        argv: [bench.tools.crane, 'copy', '--insecure', source, `${host}/${repository}:bench`],
        cwd: bench.directory,
      })),
    },
    close: async () => {
      await near.close();
      await server.stop();
    },
  };
}

async function distant(server: RealServer, roundTripMs: number): Promise<Pick<Proxy, 'host' | 'close'>> {
  return roundTripMs > 0 ? startProxy(server.host, { roundTripMs }) : { host: server.host, close: async () => {} };
}

async function fill({ directory, tools }: Bench, server: RealServer, spec: ImageSpec): Promise<void> {
  const layout = join(directory, 'layout');
  await writeImageLayout(layout, spec);
  const target = `${server.host}/${repository}:bench`;
  await measure(
    tools.hubs[0]?.path ?? '',
    ours(['copy', `oci:${layout}:bench`, target, '--insecure-host', server.host], directory),
  );
  await rm(layout, { recursive: true });
}
