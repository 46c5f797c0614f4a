import type { BenchCase } from '../support/bench-case.ts';
import { openRegistryPair } from '../support/registry-pair.ts';

const platforms = 8;
const layers = 20;
const roundTripMs = 30;

export const copySmall: BenchCase = {
  name: 'copy-small',
  about: () =>
    `An index of ${platforms} platforms with ${layers} layers of 4 KiB and a config each, from one CNCF distribution registry to an empty one, each ${roundTripMs} ms of round trip away (handshakes included). \`--no-referrers\` is what \`crane copy\` does; by default ours looks for referrers of each manifest as well.`,
  run: async (bench) => {
    const registries = await openRegistryPair(bench, { platforms, layers, layerBytes: 4096 }, roundTripMs);
    try {
      const peers = [{ contender: registries.crane, bar: 0.6 }];
      const whole = await bench.compare({ work: 'with referrers', ours: registries.ours('sie-mirror'), peers });
      const same = await bench.compare({
        work: '`--no-referrers`',
        ours: registries.ours('sie-mirror --no-referrers', ['--no-referrers']),
        peers,
      });
      return { pairs: [...whole, ...same], notes: [] };
    } finally {
      await registries.close();
    }
  },
};
