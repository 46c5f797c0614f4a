import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench, BenchCase } from '../support/bench-case.ts';
import type { Contender, Pair } from '../support/compare.ts';
import type { Command } from '../support/measure.ts';
import { type ModelSpec, writeModelStore } from '../support/model-store.ts';
import { ours } from '../support/ours.ts';
import { mebi, scaled, sizeText } from '../support/sizes.ts';
import { onDisk } from '../support/workspace.ts';

const specOf = (scale: number): ModelSpec => ({
  large: 6,
  largeBytes: scaled(512 * mebi, scale),
  small: 200,
  smallBytes: 16 * 1024,
});

/** So that there are several volumes, as in any bundle that is worth carrying. */
const volumeSize = (scale: number): string => `${scaled(1024, scale)}MiB`;

export const bundle: BenchCase = {
  name: 'bundle',
  about: (scale) => {
    const { large, largeBytes, small } = specOf(scale);
    return `A store with one model of ${large} files of ${sizeText(largeBytes)} and ${small} of 16 KiB, in volumes of at most ${volumeSize(scale)}, so that several are written at a time; every byte is hashed for its file and for its volume, with nothing proven before. Source and target lie on one file system: in memory, and on the disk of this checkout, where the store is in the page cache and the peers are followed by \`sync\` of what they wrote, as ours syncs itself.`;
  },
  run: async (bench) => {
    const inMemory = await measureIn(bench.directory, 'bundle', '', bench);
    const synced = await onDisk((disk) => measureIn(disk, 'on disk, synced', '; sync -f out', bench));
    return { pairs: [...inMemory, ...synced], notes: [] };
  },
};

/** @param after what a peer does at its end, in the shell */
async function measureIn(directory: string, work: string, after: string, bench: Bench): Promise<Pair[]> {
  const { scale, tools, compare } = bench;
  const { store } = await writeModelStore(join(directory, 'store'), specOf(scale));
  const out = join(directory, 'out');
  const contender = (name: string, command: Command): Contender => ({
    name,
    start: async () => {
      await rm(out, { recursive: true, force: true });
      return { command, end: () => rm(out, { recursive: true, force: true }) };
    },
  });
  const shell = (script: string): Command => ({ argv: ['sh', '-ec', `${script}${after}`], cwd: directory });
  const args = ['bundle', '--store', store, '--out', out, '--name', 'bench', '--volume-size', volumeSize(scale)];
  const tar = `mkdir out; ${tools.tar} -cf out/bench.tar store; ${tools.sha256sum} out/bench.tar > out/SHA256SUMS`;
  const pairs = await compare({
    work,
    ours: contender('sie-mirror', ours(args, directory)),
    peers: [
      { contender: contender('`tar -cf`, then `sha256sum`', shell(tar)), bar: 0.4 },
      { contender: contender('`cp -r`', shell('cp -r store out')), bar: 1.25 },
    ],
  });
  await rm(store, { recursive: true });
  return pairs;
}
