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
  /** What the contender of that name asked of the target in its last run; nothing where there is no round trip. */
  requestsOf: (name: string) => readonly string[];
  close: () => Promise<void>;
}

/** Where {@link fill} puts an image. */
export const benchImage = 'bench/image:bench';

/** @param roundTripMs of both registries; 0 for none */
export async function openRegistryPair(bench: Bench, spec: ImageSpec, roundTripMs: number): Promise<RegistryPair> {
  const server = await startDistribution(join(bench.directory, 'source'));
  await fill(bench, server, spec);
  const near = await distant(server, roundTripMs);
  const source = `${near.host}/${benchImage}`;
  const requests = new Map<string, string[]>();
  const onFresh = (name: string, make: (host: string) => Attempt['command']): (() => Promise<Attempt>) => {
    return async () => {
      const target = await startDistribution(join(bench.directory, 'target'));
      const proxy = await distant(target, roundTripMs);
      const end = async (): Promise<void> => {
        requests.set(name, proxy.takeRequests());
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
      start: onFresh(name, (host) =>
        ours(['copy', source, `${host}/${benchImage}`, ...insecure(host), ...flags], bench.directory),
      ),
    }),
    crane: {
      name: 'crane copy',
      start: onFresh('crane copy', (host) => ({
        argv: [bench.tools.crane, 'copy', '--insecure', source, `${host}/${benchImage}`],
        cwd: bench.directory,
      })),
    },
    requestsOf: (name) => requests.get(name) ?? [],
    close: async () => {
      await near.close();
      await server.stop();
    },
  };
}

async function distant(
  server: RealServer,
  roundTripMs: number,
): Promise<Pick<Proxy, 'host' | 'takeRequests' | 'close'>> {
  if (roundTripMs > 0) return startProxy(server.host, { roundTripMs });
  return { host: server.host, takeRequests: () => [], close: async () => {} };
}

/** Puts an image of random layers into a registry, as {@link benchImage}. */
export async function fill({ directory, tools }: Bench, server: RealServer, spec: ImageSpec): Promise<void> {
  const layout = join(directory, 'layout');
  await writeImageLayout(layout, spec);
  const target = `${server.host}/${benchImage}`;
  await measure(
    tools.hubs[0]?.path ?? '',
    ours(['copy', `oci:${layout}:bench`, target, '--insecure-host', server.host], directory),
  );
  await rm(layout, { recursive: true });
}
