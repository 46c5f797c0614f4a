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
    `An image of ${layers} random layers of ${sizeText(layerBytes(scale))} to an empty CNCF distribution registry: ours straight out of a bundle, \`crane push\` of the tarball that \`crane pull\` writes, and of an unpacked OCI layout, of which crane hashes nothing.`,
  run: async (bench) => {
    const { directory, scale, tools } = bench;
    const store = join(directory, 'store');
    const layout = join(store, 'oci');
    await writeImageLayout(layout, { platforms: 1, layers, layerBytes: layerBytes(scale) });
    const python = tools.hubs[0]?.path ?? '';
    await measure(python, ours(['bundle', '--store', store, '--out', directory, '--name', 'bench'], directory));
    const tarball = join(directory, 'image.tar');
    await pullTarball(bench, python, layout, tarball);
    const mine = onFresh(bench, 'sie-mirror', (host) => {
      const place = ['--images', `${host}/bench`, '--insecure-host', host];
      return ours(['import', join(directory, 'bench'), ...place], directory);
    });
    const crane = (name: string, path: string): Contender =>
      onFresh(bench, name, (host) => ({
        argv: [tools.crane, 'push', '--insecure', path, `${host}/bench/images:bench`],
        cwd: directory,
      }));
    const peers = [
      { contender: crane('`crane push` of a tarball', tarball), bar: 1 },
      { contender: crane('`crane push` of a layout', layout), bar: 1 },
    ];
    return {
      pairs: await bench.compare({ work: 'images', ours: mine, peers }),
      notes: [],
    };
  },
};

/** What an engineer would carry who uses crane alone. */
async function pullTarball(
  { directory, tools }: Bench,
  python: string,
  layout: string,
  tarball: string,
): Promise<void> {
  const registry = await startDistribution(join(directory, 'registry'));
  const image = `${registry.host}/bench/images:bench`;
  await measure(python, { argv: [tools.crane, 'push', '--insecure', layout, image], cwd: directory });
  await measure(python, { argv: [tools.crane, 'pull', '--insecure', image, tarball], cwd: directory });
  await registry.stop();
  await rm(join(directory, 'registry'), { recursive: true });
}

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
