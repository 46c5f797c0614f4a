import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchCase } from '../support/bench-case.ts';
import type { Contender, Pair } from '../support/compare.ts';
import { measure } from '../support/measure.ts';
import { memoryNote } from '../support/memory.ts';
import { writeModelStore } from '../support/model-store.ts';
import { ours } from '../support/ours.ts';
import { scaled } from '../support/sizes.ts';

const most = 200_000;
const factor = 10;
/** Ten times the files in at most this many times the time: what is quadratic would take a hundred. */
const bar = 15;

export const smallFiles: BenchCase = {
  name: 'small-files',
  about: (scale) =>
    `A store with one model of ${scaled(most, scale)} files of 64 bytes, beside one of a ${factor}th of that: the ratio is that of ours to ours, and quadratic time would make it ${factor * factor}.`,
  run: async ({ directory, scale, tools, compare, log }) => {
    const python = tools.hubs[0]?.path ?? '';
    const counts = [scaled(most, scale), Math.ceil(scaled(most, scale) / factor)] as const;
    for (const count of counts) {
      log(`making ${count} files`);
      await writeModelStore(join(directory, `store-${count}`), {
        large: 0,
        largeBytes: 0,
        small: count,
        smallBytes: 64,
      });
      await measure(
        python,
        ours(['bundle', '--store', `store-${count}`, '--out', `${count}`, '--name', 'b'], directory),
      );
    }
    const contender = (count: number, args: string[], made: string): Contender => ({
      name: `sie-mirror, ${count} files`,
      start: async () => {
        await rm(join(directory, made), { recursive: true, force: true });
        return {
          command: ours(args, directory),
          end: () => rm(join(directory, made), { recursive: true, force: true }),
        };
      },
    });
    const works: Record<string, (count: number) => string[]> = {
      bundle: (count) => ['bundle', '--store', `store-${count}`, '--out', 'made', '--name', 'b'],
      verify: (count) => ['verify', `${count}/b`],
      import: (count) => ['import', `${count}/b`, '--models', 'file:made', '--receipt', 'receipt.json'],
    };
    const pairs: Pair[] = [];
    for (const [work, args] of Object.entries(works)) {
      const [many, few] = counts.map((count) => contender(count, args(count), 'made'));
      if (many && few) pairs.push(...(await compare({ work, ours: many, peers: [{ contender: few, bar }] })));
    }
    return { pairs, notes: [memoryNote(pairs)] };
  },
};
