import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

interface CommandOptions {
  cwd?: string;
  /** Added to this process's environment. */
  env?: Record<string, string>;
  /** Kills the command then. */
  timeoutMs?: number;
  /** Called with the process as soon as it runs, to kill it in the middle. */
  onStart?: (kill: (signal: NodeJS.Signals) => void) => void;
}

export interface CommandResult {
  /** -1 when the command was killed or could not be started. */
  code: number;
  timedOut: boolean;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end; a failing command is a result, not an exception. */
export function tryCommand(command: string, args: string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve) => {
    const env = { ...process.env, ...options.env };
    const child = spawn(command, args, { cwd: options.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const result = { code: -1, timedOut: false, stdout: '', stderr: '' };
    const stop = (): void => {
      result.timedOut = true;
      child.kill('SIGKILL');
    };
    const timer = options.timeoutMs === undefined ? undefined : setTimeout(stop, options.timeoutMs);
    options.onStart?.((signal) => void child.kill(signal));
    child.stdout.setEncoding('utf8').on('data', (text: string) => (result.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (result.stderr += text));
    child.on('error', (error) => resolve({ ...result, stderr: `${error.message}\n` }));
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ ...result, code: code ?? -1 });
    });
  });
}

/** Runs a command and returns its standard output; throws with the end of its output when it fails. */
export async function runCommand(command: string, args: string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await tryCommand(command, args, options);
  if (code === 0) return stdout;
  const output = `${stdout}${stderr}`.trim().split('\n').slice(-30).join('\n');
  throw new Error(`\`${[command, ...args].join(' ')}\` failed (exit ${code}):\n${output}`);
}

/** The first executable of that name on PATH. */
export async function findCommand(name: string): Promise<string | undefined> {
  const paths = pathDirectories().map((directory) => join(directory, name));
  const found = await Promise.all(paths.map(isExecutable));
  return paths.find((_, index) => found[index]);
}

/** The directories of PATH, in order. */
export function pathDirectories(): string[] {
  return (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
}

/** Whether a file exists that this user may execute. */
export async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
