import { tryCommand } from '../../test/real/command.ts';
import type { Command } from './measure.ts';

/** Runs a command, and ends it with `kill -9` when the moment has come. @throws when it ends before */
export async function killAt(
  { argv: [program, ...args], cwd, env }: Command,
  moment: () => Promise<void>,
): Promise<void> {
  const { code, stderr } = await tryCommand(program, args, {
    cwd,
    env: { HOME: cwd, ...env },
    onStart: (kill) => void moment().finally(() => kill('SIGKILL')),
  });
  if (code !== -1) throw new Error(`it ended before it could be killed (exit ${code}):\n${stderr}`);
}

/** `0.500x (met: <= 0.55)` */
export function barred(ratio: number, bar: number): string {
  return `${ratio.toFixed(3)}x (${ratio <= bar ? 'met' : 'MISSED'}: <= ${bar.toFixed(2)})`;
}
