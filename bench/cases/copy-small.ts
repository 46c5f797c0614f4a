import { methodCounts } from '../../test/real/proxy.ts';
import type { BenchCase } from '../support/bench-case.ts';
import { openRegistryPair, type RegistryPair } from '../support/registry-pair.ts';

const platforms = 8;
const layers = 20;
const roundTripMs = 30;
const crane = 'crane copy';
const names = ['sie-mirror', 'sie-mirror --no-referrers'] as const;
/** Of ours, with everything that is asked of the target. */
const requestBar = 2.1;

export const copySmall: BenchCase = {
  name: 'copy-small',
  about: () =>
    `An index of ${platforms} platforms with ${layers} layers of 4 KiB and a config each, from one CNCF distribution registry to an empty one, each ${roundTripMs} ms of round trip away (handshakes included). \`--no-referrers\` is what \`crane copy\` does; by default ours looks for referrers of each manifest as well.`,
  run: async (bench) => {
    const registries = await openRegistryPair(bench, { platforms, layers, layerBytes: 4096 }, roundTripMs);
    try {
      const peers = [{ contender: registries.crane, bar: 0.6 }];
      const [withReferrers, without] = names;
      const whole = await bench.compare({ work: 'with referrers', ours: registries.ours(withReferrers), peers });
      const same = await bench.compare({
        work: '`--no-referrers`',
        ours: registries.ours(without, ['--no-referrers']),
        peers,
      });
      return { pairs: [...whole, ...same], notes: [crane, ...names].map((name) => requestsNote(registries, name)) };
    } finally {
      await registries.close();
    }
  },
};

function requestsNote(registries: RegistryPair, name: string): string {
  const requests = registries.requestsOf(name);
  const blobs = platforms * (layers + 1);
  const each = requests.length / blobs;
  const bar = name === crane ? '' : ` (${each <= requestBar ? 'met' : 'MISSED'}: <= ${requestBar.toFixed(1)})`;
  return `Requests of ${name} at the target: ${each.toFixed(2)} per new blob${bar}; ${methodCounts(requests)}.`;
}
