import { binary } from '../../test/support/cli.ts';
import type { Command } from './measure.ts';

/** The built program, as a user starts it, under the Node.js that runs the bench. */
export function ours(args: readonly string[], cwd: string, env: Record<string, string> = {}): Command {
  return { argv: [process.execPath, binary, ...args], cwd, env: { CI: 'true', ...env } };
}
