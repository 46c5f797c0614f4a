import { measure } from '../support/measure.ts';
import type { Bench, BenchCase } from '../support/bench-case.ts';
import {
  beside,
  hfOf,
  hubTools,
  nameOf,
  onFreshStore,
  oursOf,
  planOf,
  stockName,
  stockOf,
} from '../support/hub-clients.ts';
import { type HubProcess, largeRepo, smallRepo, startHubProcess, xetRepo } from '../support/hub-process.ts';
import { memoryNote } from '../support/memory.ts';
import { sizeText } from '../support/sizes.ts';

const largeBar = 0.9;
const smallBar = 0.3;

export const snapshot: BenchCase = {
  name: 'snapshot',
  about: (scale) => {
    const { largeBytes, small } = planOf(scale);
    return `A repo of one LFS file of ${sizeText(largeBytes)}, and one of ${small} regular files of 2 KiB, from the hub of the tests in a process of its own; \`hf download\` without hf_xet, and for the large file with it (xorbs of 64 MiB, not packed; regular files never come by Xet). \`hf\` 0.36.2 verifies nothing; what stock tools need for a file and its sha256 stands beside it.`;
  },
  run: async (bench) => {
    const hub = await startHubProcess({ ...planOf(bench.scale), xet: true });
    try {
      const { newest } = hubTools(bench);
      const inLarge = beside(bench, hub, 'one large file', largeRepo, largeBar);
      const stock = { contender: onFreshStore(bench, stockName, stockOf(bench, hub, largeRepo)) };
      const large = await bench.compare({ ...inLarge, peers: [...inLarge.peers, stock] });
      const xet = await bench.compare({
        work: 'one large file, hf_xet on',
        ours: onFreshStore(bench, 'sie-mirror', oursOf(bench, hub, xetRepo)),
        peers: [
          { contender: onFreshStore(bench, nameOf(newest), hfOf(bench, newest, hub, xetRepo, true)), bar: largeBar },
        ],
      });
      const small = await bench.compare(beside(bench, hub, 'many small files', smallRepo, smallBar));
      const pairs = [...large, ...xet, ...small];
      return { pairs, notes: [memoryNote(pairs), ...(await countRequests(bench, hub))] };
    } finally {
      await hub.stop();
    }
  },
};

/** What one run of each asks the hub for. */
async function countRequests(bench: Bench, hub: HubProcess): Promise<string[]> {
  const { oldest, newest } = hubTools(bench);
  const notes: string[] = [];
  const contenders = [
    onFreshStore(bench, 'sie-mirror for many small files', oursOf(bench, hub, smallRepo)),
    ...bench.tools.hubs.map((tool) =>
      onFreshStore(bench, `${nameOf(tool)} for many small files`, hfOf(bench, tool, hub, smallRepo)),
    ),
    onFreshStore(bench, 'sie-mirror for one large file', oursOf(bench, hub, xetRepo)),
    onFreshStore(bench, `${nameOf(newest)} with hf_xet for it`, hfOf(bench, newest, hub, xetRepo, true)),
  ];
  for (const { name, start } of contenders) {
    await hub.takeCounts();
    const { command, end } = await start();
    await measure(oldest.path, command);
    await end?.();
    notes.push(`Requests of ${name}: ${await hub.takeCounts()}.`);
  }
  return notes;
}
