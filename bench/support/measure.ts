import { spawn } from 'node:child_process';

/** A program to be measured. */
export interface Command {
  argv: readonly [program: string, ...args: string[]];
  cwd: string;
  /** All of its environment but PATH. */
  env?: Record<string, string>;
}

/** What one process took, its own children included. */
export interface Measurement {
  seconds: number;
  /** User and system time. */
  cpuSeconds: number;
  /** Largest resident size of any single process of it. */
  peakBytes: number;
  stdout: string;
}

/**
 * A process inherits the peak size of the one that it was forked from until it runs its own program, and Node.js is
 * larger than some of what is measured here. So a small Python forks, waits and reads what the kernel counted; its own
 * size, some 9 MiB, is the least that can be seen.
 */
const wrapper = `
import json, os, sys, time
os.set_inheritable(3, False)
started = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
seconds = time.perf_counter() - started
result = {'seconds': seconds, 'cpuSeconds': used.ru_utime + used.ru_stime, 'peakBytes': used.ru_maxrss * 1024}
os.write(3, json.dumps({**result, 'code': os.waitstatus_to_exitcode(status)}).encode())
`;

/** Runs a command to its end and measures it. @throws when it fails */
export async function measure(python: string, command: Command): Promise<Measurement> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: command.cwd, NO_COLOR: '1', ...command.env };
  const child = spawn(python, ['-I', '-S', '-c', wrapper, ...command.argv], {
    cwd: command.cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const text = { stdout: '', stderr: '', result: '' };
  child.stdout?.on('data', (bytes: Buffer) => (text.stdout += bytes.toString()));
  child.stderr?.on('data', (bytes: Buffer) => (text.stderr += bytes.toString()));
  child.stdio[3]?.on('data', (bytes: Buffer) => (text.result += bytes.toString()));
  await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  const { code = -1, ...measured } = JSON.parse(text.result || '{}') as Omit<Measurement, 'stdout'> & { code?: number };
  if (code !== 0) {
    const said = `${text.stdout}${text.stderr}`.trim().split('\n').slice(-20).join('\n');
    throw new Error(`\`${command.argv.join(' ')}\` ended with exit code ${code}:\n${said}`);
  }
  return { ...measured, stdout: text.stdout };
}
