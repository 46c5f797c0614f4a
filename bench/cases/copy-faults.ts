import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ProxyFault, startProxy } from '../../test/real/proxy.ts';
import { type RealServer, startDistribution } from '../../test/real/servers.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { Bench, BenchCase } from '../support/bench-case.ts';
import { barred, killAt } from '../support/killed.ts';
import { measure } from '../support/measure.ts';
import { ours } from '../support/ours.ts';
import { benchImage, fill } from '../support/registry-pair.ts';
import { mebi, scaled, sizeText } from '../support/sizes.ts';

const layers = 6;
const cutBar = 1.05;
const killBar = 0.55;
const halfwayMs = 600_000;

const layerBytes = (scale: number): number => scaled(256 * mebi, scale);
const cutBytes = (scale: number): number => scaled(100e6, scale);

export const copyFaults: BenchCase = {
  name: 'copy-faults',
  about: (scale) =>
    `What a failing source costs: bytes that it sent, as a multiple of the content, an image of ${layers} random layers of ${sizeText(layerBytes(scale))}. What the peers do then stands in docs/copy-comparison.md.`,
  run: async (bench) => {
    const server = await startDistribution(join(bench.directory, 'source'));
    try {
      await fill(bench, server, { platforms: 1, layers, layerBytes: layerBytes(bench.scale) });
      const notes = [
        await cut(bench, server, 'reset', 'RST'),
        await cut(bench, server, 'end', 'FIN'),
        await killed(bench, server),
      ];
      return { pairs: [], notes };
    } finally {
      await server.stop();
    }
  },
};

async function cut(bench: Bench, server: RealServer, how: ProxyFault['how'], text: string): Promise<string> {
  const afterBytes = cutBytes(bench.scale);
  const target = await startDistribution(join(bench.directory, 'target'));
  const proxy = await startProxy(server.host, { fault: { way: 'down', afterBytes, how } });
  try {
    const source = `${proxy.host}/${benchImage}`;
    const insecure = ['--insecure-host', proxy.host, '--insecure-host', target.host];
    const command = ours(['copy', source, `${target.host}/${benchImage}`, ...insecure], bench.directory);
    const { seconds } = await measure(bench.tools.hubs[0]?.path ?? '', command);
    const ratio = barred(proxy.bytesDown() / contentBytes(bench), cutBar);
    return `Every connection to the source ends with a ${text} after ${(afterBytes / 1e6).toFixed(0)} MB: ${ratio}, ${seconds.toFixed(1)} s.`;
  } finally {
    await proxy.close();
    await target.stop();
    await rm(join(bench.directory, 'target'), { recursive: true });
  }
}

async function killed(bench: Bench, server: RealServer): Promise<string> {
  const half = Math.round(contentBytes(bench) / 2);
  const proxy = await startProxy(server.host, { fault: { way: 'down', of: 'all', afterBytes: half, how: 'stall' } });
  try {
    const source = `${proxy.host}/${benchImage}`;
    const layout = `oci:${join(bench.directory, 'layout')}`;
    const command = ours(['copy', source, layout, '--insecure-host', proxy.host], bench.directory);
    await killAt(command, async () => {
      await waitFor('half of the bytes have passed', () => proxy.bytesDown() >= half, halfwayMs);
      await proxy.drained();
      await sleep(500);
    });
    proxy.setFault(undefined);
    proxy.takeBytesDown();
    await measure(bench.tools.hubs[0]?.path ?? '', command);
    const ratio = barred(proxy.takeBytesDown() / contentBytes(bench), killBar);
    return `\`kill -9\` at half into a layout, then again: the second run moves ${ratio}.`;
  } finally {
    await proxy.close();
    await rm(join(bench.directory, 'layout'), { recursive: true, force: true });
  }
}

function contentBytes({ scale }: Bench): number {
  return layers * layerBytes(scale);
}
