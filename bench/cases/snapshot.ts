import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { VersionedTool } from '../../test/real/tools.ts';
import type { Bench, BenchCase } from '../support/bench-case.ts';
import type { Contender } from '../support/compare.ts';
import { type HubPlan, type HubProcess, largeRepo, smallRepo, startHubProcess } from '../support/hub-process.ts';
import { type Command, measure } from '../support/measure.ts';
import { ours } from '../support/ours.ts';
import { mebi, scaled, sizeText } from '../support/sizes.ts';

const planOf = (scale: number): HubPlan => ({
  largeBytes: scaled(1536 * mebi, scale),
  small: scaled(1500, scale),
  smallBytes: 2048,
});

export const snapshot: BenchCase = {
  name: 'snapshot',
  about: (scale) => {
    const { largeBytes, small } = planOf(scale);
    return `A repo of one LFS file of ${sizeText(largeBytes)}, and one of ${small} regular files of 2 KiB, from the hub of the tests in a process of its own; \`hf download\` without Xet.`;
  },
  run: async (bench) => {
    const hub = await startHubProcess(planOf(bench.scale));
    try {
      const large = await bench.compare(comparisonOf(bench, hub, 'one large file', largeRepo, 0.9));
      const small = await bench.compare(comparisonOf(bench, hub, 'many small files', smallRepo, 0.3));
      return { pairs: [...large, ...small], notes: await countRequests(bench, hub) };
    } finally {
      hub.stop();
    }
  },
};

function comparisonOf(
  bench: Bench,
  hub: HubProcess,
  work: string,
  repo: string,
  bar: number,
): Parameters<Bench['compare']>[0] {
  const [oldest, newest] = [bench.tools.hubs.at(0), bench.tools.hubs.at(-1)];
  if (!oldest || !newest) throw new Error('no huggingface_hub is installed');
  return {
    work,
    ours: onFreshStore(bench, 'sie-mirror', oursOf(bench, hub, repo)),
    peers: [
      { contender: onFreshStore(bench, nameOf(newest), hfOf(bench, newest, hub, repo)), bar },
      { contender: onFreshStore(bench, nameOf(oldest), hfOf(bench, oldest, hub, repo)) },
    ],
  };
}

/** What one run of each asks the hub for. */
async function countRequests(bench: Bench, hub: HubProcess): Promise<string[]> {
  const [python = ''] = bench.tools.hubs.map(({ path }) => path);
  const notes: string[] = [];
  const contenders = [
    onFreshStore(bench, 'sie-mirror', oursOf(bench, hub, smallRepo)),
    ...bench.tools.hubs.map((tool) => onFreshStore(bench, nameOf(tool), hfOf(bench, tool, hub, smallRepo))),
  ];
  for (const { name, start } of contenders) {
    await hub.takeCounts();
    const { command, end } = await start();
    await measure(python, command);
    await end?.();
    notes.push(`Requests of ${name} for many small files: ${await hub.takeCounts()}.`);
  }
  return notes;
}

function onFreshStore({ directory }: Bench, name: string, command: Command): Contender {
  const clear = (): Promise<void> => rm(join(directory, 'store'), { recursive: true, force: true });
  return { name, start: () => ({ command, end: clear }) };
}

function oursOf({ directory }: Bench, hub: HubProcess, repo: string): Command {
  return ours(['snapshot', repo, '--store', join(directory, 'store')], directory, { HF_ENDPOINT: hub.url });
}

function hfOf({ directory }: Bench, tool: VersionedTool, hub: HubProcess, repo: string): Command {
  const script = 'from huggingface_hub.cli.hf import main; main()';
  return {
    argv: [tool.path, '-c', script, 'download', repo],
    cwd: directory,
    env: {
      HF_ENDPOINT: hub.url,
      HF_HUB_CACHE: join(directory, 'store/hub'),
      HF_HOME: join(directory, 'store/home'),
      HF_HUB_DISABLE_XET: '1',
      HF_HUB_DISABLE_TELEMETRY: '1',
      HF_HUB_DISABLE_UPDATE_CHECK: '1',
    },
  };
}

function nameOf({ version }: VersionedTool): string {
  return `\`hf download\` ${version}`;
}
