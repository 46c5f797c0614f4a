import { readdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Bench, BenchCase, CaseResult } from '../support/bench-case.ts';
import type { Contender } from '../support/compare.ts';
import { hashLimit } from '../support/hash-limit.ts';
import { measure } from '../support/measure.ts';
import { type ModelSpec, writeModelStore } from '../support/model-store.ts';
import { ours } from '../support/ours.ts';
import { ratioOf } from '../support/render.ts';
import { mebi, scaled, sizeText } from '../support/sizes.ts';
import { onDisk } from '../support/workspace.ts';

const specOf = (scale: number): ModelSpec => ({
  large: 12,
  largeBytes: scaled(512 * mebi, scale),
  small: 200,
  smallBytes: 16 * 1024,
});

/** Many, so that they can be shared out among the cores. */
const volumeSize = (scale: number): string => `${scaled(256, scale)}MiB`;

const blockBytes = 2 * mebi;
const least = 0.85;

export const verify: BenchCase = {
  name: 'verify',
  about: (scale) => {
    const { large, largeBytes } = specOf(scale);
    return `A bundle of one model with ${large} files of ${sizeText(largeBytes)} in volumes of ${volumeSize(scale)}, on the disk of this checkout and in the page cache. \`openssl speed\` on one core, times the cores, gives the time that hashing alone must take, and with \`-multi\` what they need for it at the same time; the whole process counts, its start included. The limit is a program that reads the volumes and hashes them, in a thread a core, and does nothing else.`;
  },
  run: async (bench) => onDisk((disk) => measureIn(disk, bench)),
};

async function measureIn(directory: string, { scale, tools, compare }: Bench): Promise<CaseResult> {
  const { store, bytes } = await writeModelStore(join(directory, 'store'), specOf(scale));
  const python = tools.hubs[0]?.path ?? '';
  const args = ['bundle', '--store', store, '--out', directory, '--name', 'bench', '--volume-size', volumeSize(scale)];
  await measure(python, ours(args, directory));
  await rm(store, { recursive: true });
  const sealed = join(directory, 'bench');
  const volumes = (await readdir(sealed)).filter((name) => name.endsWith('.tar'));
  const cores = availableParallelism();
  const speed = (name: string, factor: number, flags: string[]): Contender => ({
    name,
    start: () => ({
      command: {
        argv: [
          tools.openssl,
          'speed',
          '-mr',
          '-evp',
          'sha256',
          '-bytes',
          String(blockBytes),
          '-seconds',
          '2',
          ...flags,
        ],
        cwd: directory,
      },
      seconds: (stdout) => bytes / (throughputOf(stdout) * factor),
    }),
  });
  const pairs = await compare({
    work: 'verify',
    ours: { name: 'sie-mirror', start: () => ({ command: ours(['verify', sealed], directory) }) },
    peers: [
      { contender: speed('`openssl speed -evp sha256` x cores', cores, []), bar: 1 / least },
      { contender: speed('`openssl speed -evp sha256 -multi` cores', 1, ['-multi', String(cores)]) },
      {
        contender: {
          name: 'the limit',
          start: () => ({ command: hashLimit(volumes, cores, sealed) }),
        },
      },
      {
        contender: {
          // The most that stock tools do with the same files: they read them too.
          name: '`openssl dgst -sha256`, a process a core',
          start: () => ({
            command: {
              argv: ['sh', '-c', `ls *.tar | xargs -n 1 -P ${cores} ${tools.openssl} dgst -sha256`],
              cwd: sealed,
            },
          }),
        },
      },
      {
        contender: {
          name: '`sha256sum -c`',
          start: () => ({ command: { argv: [tools.sha256sum, '-c', '--quiet', 'SHA256SUMS'], cwd: sealed } }),
        },
      },
    ],
  });
  const [first] = pairs;
  const share = first ? (1 / ratioOf(first)).toFixed(2) : '';
  return { pairs, notes: [`Throughput: ${share} x that of \`openssl speed\` on all cores; the bar is >= ${least}.`] };
}

/** Bytes a second, out of the `+F:` line of `openssl speed -mr`. */
function throughputOf(stdout: string): number {
  const found = /^\+F:\d+:sha256:([\d.]+)$/m.exec(stdout)?.[1];
  if (found === undefined) throw new Error(`\`openssl speed\` printed no result:\n${stdout}`);
  return Number(found);
}
