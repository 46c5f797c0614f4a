import type { BenchCase } from '../support/bench-case.ts';
import { openRegistryPair } from '../support/registry-pair.ts';
import { mebi, scaled, sizeText } from '../support/sizes.ts';

const layers = 6;

const layerBytes = (scale: number): number => scaled(256 * mebi, scale);

export const copy: BenchCase = {
  name: 'copy',
  about: (scale) =>
    `An image of ${layers} random layers of ${sizeText(layerBytes(scale))} from one CNCF distribution registry to an empty one, both on loopback.`,
  run: async (bench) => {
    const registries = await openRegistryPair(bench, { platforms: 1, layers, layerBytes: layerBytes(bench.scale) }, 0);
    try {
      const peers = [{ contender: registries.crane, bar: 1 }];
      return { pairs: await bench.compare({ work: 'copy', ours: registries.ours('sie-mirror'), peers }), notes: [] };
    } finally {
      await registries.close();
    }
  },
};
