import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startDistribution } from '../../test/real/servers.ts';
import type { Bench, BenchCase } from '../support/bench-case.ts';
import type { Contender } from '../support/compare.ts';
import { writeImageLayout } from '../support/image-layout.ts';
import { type Command, measure } from '../support/measure.ts';
import { ours } from '../support/ours.ts';
import { mebi, scaled, sizeText } from '../support/sizes.ts';

const layers = 6;
const layerBytes = (scale: number): number => scaled(256 * mebi, scale);

export const importImages: BenchCase = {
  name: 'import-images',
  about: (scale) =>
    `An image of ${layers} random layers of ${sizeText(layerBytes(scale))} to an empty CNCF distribution registry: ours straight out of a bundle, \`crane push\` from the unpacked OCI layout.`,
  run: async (bench) => {
    const { directory, scale, tools } = bench;
    const store = join(directory, 'store');
    const layout = join(store, 'oci');
    await writeImageLayout(layout, { platforms: 1, layers, layerBytes: layerBytes(scale) });
    await measure(
      tools.hubs[0]?.path ?? '',
      ours(['bundle', '--store', store, '--out', directory, '--name', 'bench'], directory),
    );
    const mine = onFresh(bench, 'sie-mirror', (host) => {
      const place = ['--images', `${host}/bench`, '--insecure-host', host];
      return ours(['import', join(directory, 'bench'), ...place], directory);
    });
    const crane = onFresh(bench, 'crane push', (host) => ({
      argv: [tools.crane, 'push', '--insecure', layout, `${host}/bench/images:bench`],
      cwd: directory,
    }));
    return {
      pairs: await bench.compare({ work: 'images', ours: mine, peers: [{ contender: crane, bar: 1 }] }),
      notes: [],
    };
  },
};

function onFresh({ directory }: Bench, name: string, command: (host: string) => Command): Contender {
  const place = join(directory, 'target');
  return {
    name,
    start: async () => {
      const target = await startDistribution(place);
      const end = async (): Promise<void> => {
        await target.stop();
        await rm(place, { recursive: true });
      };
      return { command: command(target.host), end };
    },
  };
}
