import { join } from 'node:path';
import { methodCounts, type Proxy, startProxy } from '../../test/real/proxy.ts';
import { startDistribution } from '../../test/real/servers.ts';
import type { BenchCase } from '../support/bench-case.ts';
import type { Contender } from '../support/compare.ts';
import { type Command, measure } from '../support/measure.ts';
import { ours } from '../support/ours.ts';
import { benchImage, fill } from '../support/registry-pair.ts';

const platforms = 8;
const layers = 20;
const roundTripMs = 30;

export const copyAgain: BenchCase = {
  name: 'copy-again',
  about: () =>
    `The same copy once more, with nothing changed: an index of ${platforms} platforms with ${layers} layers each, between two CNCF distribution registries, each ${roundTripMs} ms of round trip away.`,
  run: async (bench) => {
    const { directory, tools } = bench;
    const servers = [
      await startDistribution(join(directory, 'source')),
      await startDistribution(join(directory, 'target')),
    ] as const;
    const proxies: Proxy[] = [];
    try {
      for (const server of servers) {
        await fill(bench, server, { platforms, layers, layerBytes: 4096 });
        proxies.push(await startProxy(server.host, { roundTripMs }));
      }
      const [from = '', to = ''] = proxies.map(({ host }) => `${host}/${benchImage}`);
      const insecure = proxies.flatMap(({ host }) => ['--insecure-host', host]);
      const contender = (name: string, command: Command): Contender => ({ name, start: () => ({ command }) });
      const mine = (name: string, flags: string[]): Contender =>
        contender(name, ours(['copy', from, to, ...insecure, ...flags], directory));
      const crane = contender('crane copy', {
        argv: [tools.crane, 'copy', '--insecure', from, to],
        cwd: directory,
      });
      const whole = mine('sie-mirror', []);
      const plain = mine('sie-mirror --no-referrers', ['--no-referrers']);
      const pairs = [
        ...(await bench.compare({ work: 'with referrers', ours: whole, peers: [{ contender: crane }] })),
        ...(await bench.compare({ work: '`--no-referrers`', ours: plain, peers: [{ contender: crane }] })),
      ];
      const notes: string[] = [];
      for (const { name, start } of [crane, whole, plain]) {
        for (const proxy of proxies) proxy.takeRequests();
        await measure(tools.hubs[0]?.path ?? '', (await start()).command);
        const counts = proxies.map((proxy) => methodCounts(proxy.takeRequests()));
        notes.push(`Requests of ${name}, source + target: ${counts.join(' + ')}.`);
      }
      return { pairs, notes };
    } finally {
      for (const proxy of proxies) await proxy.close();
      for (const server of servers) await server.stop();
    }
  },
};
