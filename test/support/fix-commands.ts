import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a fix may have one type. */
const programs = [
  'aws',
  'chmod',
  'curl',
  'docker',
  'helm',
  'kubectl',
  'mc',
  'mkdir',
  'openssl',
  'rm',
  'sie-mirror',
  'sudo',
];
const begins = new RegExp(`(?:^|: )((?:${programs.join('|')}|export|printf) .*)$`);

/** The commands at the ends of lines of fixes, as docs/doctor.md has them: the tests hold it to what doctor prints. */
export function commandsOf(page: string): string[] {
  const fixes = [...page.matchAll(/^ {10}fix: (.*(?:\n {15}.*)*)/gm)].flatMap(([, block = '']) => block.split('\n'));
  const lines = fixes.map((line) => line.trim()).filter((line) => !line.startsWith('('));
  return [...new Set(lines.flatMap((line) => begins.exec(line)?.[1] ?? []))];
}

/** One call of a program by a command: the words that it was given, its name first. */
export type Call = string[];

/**
 * What a shell makes of commands, with stand-ins for all programs.
 * @throws for one that is no command, or that calls a program which is not in the list
 */
export async function callsOf(commands: readonly string[]): Promise<Call[][]> {
  const place = await mkdtemp(join(tmpdir(), 'fix-commands-'));
  const log = join(place, 'log');
  // No word holds these bytes: the first ends a word, the others a call and a command.
  const script = `
    record() { printf '%s\\0' "$@" $'\\x01' >> '${log}'; }
    for program in ${programs.join(' ')}; do eval "$program() { record $program \\"\\$@\\"; }"; done
    command_not_found_handle() { echo "not found: $*" >&2; exit 9; }
    for command in "$@"; do
      ( eval "$command"; wait ) < /dev/null > /dev/null || { echo "in: $command" >&2; exit 9; }
      printf '\\x02\\0' >> '${log}'
    done`;
  try {
    await run('bash', ['-c', script, 'bash', ...commands], {
      cwd: place,
      env: { PATH: '/usr/bin:/bin', HOME: '/root' },
    });
    return (await readFile(log, 'utf8'))
      .split('\u0002\0')
      .slice(0, -1)
      .map((calls) => calls.split('\u0001\0').slice(0, -1))
      .map((calls) => calls.map((call) => call.split('\0').slice(0, -1)));
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}
