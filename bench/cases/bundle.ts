import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchCase } from '../support/bench-case.ts';
import type { Command } from '../support/measure.ts';
import type { Contender } from '../support/compare.ts';
import { type ModelSpec, writeModelStore } from '../support/model-store.ts';
import { ours } from '../support/ours.ts';
import { mebi, scaled, sizeText } from '../support/sizes.ts';

const specOf = (scale: number): ModelSpec => ({
  large: 6,
  largeBytes: scaled(512 * mebi, scale),
  small: 200,
  smallBytes: 16 * 1024,
});

export const bundle: BenchCase = {
  name: 'bundle',
  about: (scale) => {
    const { large, largeBytes, small } = specOf(scale);
    return `A store with one model of ${large} files of ${sizeText(largeBytes)} and ${small} of 16 KiB; source and target on one file system.`;
  },
  run: async ({ directory, scale, tools, compare }) => {
    const { store } = await writeModelStore(join(directory, 'store'), specOf(scale));
    const out = join(directory, 'out');
    const contender = (name: string, command: Command): Contender => ({
      name,
      start: async () => {
        await rm(out, { recursive: true, force: true });
        return { command, end: () => rm(out, { recursive: true, force: true }) };
      },
    });
    const shell = (script: string): Command => ({ argv: ['sh', '-ec', script], cwd: directory });
    const pairs = await compare({
      work: 'bundle',
      ours: contender('sie-mirror', ours(['bundle', '--store', store, '--out', out, '--name', 'bench'], directory)),
      peers: [
        {
          contender: contender(
            '`tar -cf`, then `sha256sum`',
            shell(`mkdir out; ${tools.tar} -cf out/bench.tar store; cd out; ${tools.sha256sum} bench.tar > SHA256SUMS`),
          ),
          bar: 0.4,
        },
        { contender: contender('`cp -r`', shell('cp -r store out')), bar: 1.25 },
      ],
    });
    return { pairs, notes: [] };
  },
};
