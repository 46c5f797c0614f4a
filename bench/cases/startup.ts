import { join } from 'node:path';
import { projectRoot } from '../../test/support/cli.ts';
import type { BenchCase } from '../support/bench-case.ts';
import type { Contender, Peer } from '../support/compare.ts';
import { ours } from '../support/ours.ts';

export const startup: BenchCase = {
  name: 'start-up',
  about: () =>
    '`sie-mirror --version` against `node -e 0`; as installed, and as the one file that travels in a bundle.',
  run: async ({ directory, compare }) => {
    const node = (name: string, args: string[]): Contender => ({
      name,
      start: () => ({ command: { argv: [process.execPath, ...args], cwd: directory } }),
    });
    const installed: Contender = {
      name: 'sie-mirror --version',
      start: () => ({ command: ours(['--version'], directory) }),
    };
    const single = node('sie-mirror.mjs --version', [join(projectRoot, 'dist/sie-mirror.mjs'), '--version']);
    const peers: Peer[] = [{ contender: node('node -e 0', ['-e', '0']), bar: 2 }];
    const first = await compare({ work: 'installed', ours: installed, peers });
    return { pairs: [...first, ...(await compare({ work: 'one file', ours: single, peers }))], notes: [] };
  },
};
