import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

export const projectRoot = resolve(import.meta.dirname, '../..');
export const binary = resolve(projectRoot, 'bin/sie-mirror.js');

export interface CliOptions {
  cwd: string;
  env?: Record<string, string>;
  /** Another Node.js, or the one-file tool of a bundle. */
  node?: string;
  program?: string;
  /** What stands on standard input; it stays open without. */
  input?: string;
  /** Called with the process as soon as it runs, to kill it in the middle. */
  onStart?: (kill: (signal: NodeJS.Signals) => void) => void;
  /** Called with each piece of standard error. */
  onError?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
}

export interface CliResult {
  /** Exit code, or 128 + number of the signal. */
  code: number;
  stdout: string;
  stderr: string;
}

const signals: Partial<Record<NodeJS.Signals, number>> = { SIGINT: 130, SIGTERM: 143, SIGKILL: 137 };

/** Runs the real binary in a process of its own, with nothing of this process's environment but PATH. */
export async function runCli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: options.cwd, CI: 'true', NO_COLOR: '1', ...options.env };
  const child = spawn(options.node ?? process.execPath, [options.program ?? binary, ...args], {
    cwd: options.cwd,
    env,
  });
  const kill = (signal: NodeJS.Signals): void => void child.kill(signal);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    options.onError?.(text, kill);
  });
  if (options.input !== undefined) child.stdin.end(options.input);
  options.onStart?.(kill);
  return new Promise((done, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => done({ code: code ?? (signal ? (signals[signal] ?? 1) : 1), stdout, stderr }));
  });
}
