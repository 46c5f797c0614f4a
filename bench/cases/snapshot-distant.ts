import type { BenchCase } from '../support/bench-case.ts';
import { beside, planOf } from '../support/hub-clients.ts';
import { largeRepo, smallRepo, startHubProcess } from '../support/hub-process.ts';
import { sizeText } from '../support/sizes.ts';

const roundTripMs = 30;

export const snapshotDistant: BenchCase = {
  name: 'snapshot-distant',
  about: (scale) => {
    const { largeBytes, small } = planOf(scale);
    return `The same ${small} regular files of 2 KiB, and one LFS file of ${sizeText(largeBytes)}, from a hub and a content network that are each ${roundTripMs} ms of round trip away (handshakes included).`;
  },
  run: async (bench) => {
    const hub = await startHubProcess(planOf(bench.scale));
    try {
      await hub.moveAway(roundTripMs);
      const small = await bench.compare(beside(bench, hub, 'many small files', smallRepo, 0.3));
      const large = await bench.compare(beside(bench, hub, 'one large file', largeRepo, 0.9));
      return { pairs: [...small, ...large], notes: [] };
    } finally {
      await hub.stop();
    }
  },
};
