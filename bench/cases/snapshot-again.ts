import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../test/support/wait.ts';
import type { Bench, BenchCase } from '../support/bench-case.ts';
import { hfOf, nameOf, oursOf, planOf } from '../support/hub-clients.ts';
import { type Distance, type HubProcess, largeRepo, smallRepo, startHubProcess } from '../support/hub-process.ts';
import { barred, killAt } from '../support/killed.ts';
import { type Command, measure } from '../support/measure.ts';
import { sizeText } from '../support/sizes.ts';

const killBar = 0.55;
const halfwayMs = 600_000;

export const snapshotAgain: BenchCase = {
  name: 'snapshot-again',
  about: (scale) => {
    const { largeBytes, small } = planOf(scale);
    return `What a second run costs: bytes of one LFS file of ${sizeText(largeBytes)} after a \`kill -9\` at half, and requests for a repo of ${small} files of which nothing changed.`;
  },
  run: async (bench) => {
    const hub = await startHubProcess(planOf(bench.scale));
    try {
      const distance = await hub.moveAway(0);
      const notes: string[] = [];
      const contenders: [string, (repo: string) => Command][] = [
        ['sie-mirror', (repo) => oursOf(bench, hub, repo)],
        ...bench.tools.hubs.map((tool): [string, (repo: string) => Command] => [
          nameOf(tool),
          (repo) => hfOf(bench, tool, hub, repo),
        ]),
      ];
      for (const [name, command] of contenders) {
        const ratio = await killed(bench, distance, command(largeRepo));
        const result = name === 'sie-mirror' ? barred(ratio, killBar) : `${ratio.toFixed(3)}x`;
        notes.push(`\`kill -9\` at half, then again: the second run of ${name} moves ${result}.`);
      }
      for (const [name, command] of contenders)
        notes.push(`Requests of ${name} when nothing changed: ${await unchanged(bench, hub, command(smallRepo))}.`);
      return { pairs: [], notes };
    } finally {
      await hub.stop();
    }
  },
};

/** Bytes of the second run, of those of the file. */
async function killed(bench: Bench, { cdn }: Distance, command: Command): Promise<number> {
  const { largeBytes } = planOf(bench.scale);
  const afterBytes = Math.round(largeBytes / 2);
  cdn.takeBytesDown();
  const before = cdn.bytesDown();
  cdn.setFault({ way: 'down', of: 'all', afterBytes: before + afterBytes, how: 'stall' });
  try {
    await killAt(command, async () => {
      await waitFor('half of the bytes have passed', () => cdn.bytesDown() >= before + afterBytes, halfwayMs);
      await cdn.drained();
      await sleep(500);
    });
    cdn.setFault(undefined);
    cdn.takeBytesDown();
    await measure(bench.tools.hubs[0]?.path ?? '', command);
    return cdn.takeBytesDown() / largeBytes;
  } finally {
    await clear(bench);
  }
}

async function unchanged(bench: Bench, hub: HubProcess, command: Command): Promise<string> {
  const python = bench.tools.hubs[0]?.path ?? '';
  try {
    await measure(python, command);
    await hub.takeCounts();
    await measure(python, command);
    return await hub.takeCounts();
  } finally {
    await clear(bench);
  }
}

async function clear({ directory }: Bench): Promise<void> {
  await rm(join(directory, 'store'), { recursive: true, force: true });
}
