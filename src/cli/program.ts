import { Command, CommanderError, Option } from 'commander';
import type { Context } from '../commands/context.ts';
import { MirrorError } from '../core/errors.ts';
import type { Report } from '../core/report.ts';
import { version } from '../core/version.ts';
import type { CommandRow, Flag, Subject } from './command-row.ts';
import { commandGroups } from './commands.ts';
import { type CommonFlags, commonFlags } from './flags.ts';
import type { Outputs } from './outputs.ts';

/** What was asked for: a command, ready to run in a context. */
export interface Invocation {
  command: string;
  flags: CommonFlags;
  outputs: Outputs;
  subject: Subject | undefined;
  verdict: CommandRow['verdict'];
  run: (context: Context) => Promise<Report>;
}

const exitCodes = `
Exit codes: 0 done, 2 usage, 3 incomplete (run again), 4 integrity, 5 unreachable, 6 not authorised, 7 not found,
8 refused by the target, 9 smoke test failed, 130/143 interrupted, 1 a bug. See docs/exit-codes.md.`;

/**
 * Reads the command line. Help and version are printed by commander, and come back as undefined.
 * @throws E_USAGE
 */
export function parseCommandLine(
  argv: readonly string[],
  out: (text: string) => void,
  err: (text: string) => void,
): Invocation | undefined {
  let found: Invocation | undefined;
  const program = new Command('sie-mirror')
    .description('Carries everything an inference cluster needs across an air gap, and proves that it arrived.')
    .version(version)
    .commandsGroup('Help:')
    .showHelpAfterError('(see --help)')
    .addHelpText('after', `\nThe journey: pull -> bundle == USB ==> verify -> import -> values -> smoke\n${exitCodes}`);
  for (const { title, rows } of commandGroups)
    for (const row of rows) addRow(program, row, (invocation) => (found = invocation)).helpGroup(title);
  for (const command of [program, ...program.commands])
    command.exitOverride().configureOutput({ writeOut: out, writeErr: err });
  try {
    program.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    // Commander has printed what is wrong already, but not that a shell may have made several words of one.
    if (error.code === 'commander.excessArguments' && patternFlags().some((flag) => argv.includes(flag)))
      err("a pattern wants quotes, 'v1.*': without, the shell puts the names of files in its place\n");
    throw new MirrorError('E_USAGE', '', { cause: error });
  }
  return found;
}

function addRow(program: Command, row: CommandRow, choose: (invocation: Invocation) => void): Command {
  const command = program.command(row.usage).description(row.text);
  for (const flag of [...row.flags, ...commonFlags]) command.addOption(toOption(flag));
  command.addHelpText(
    'after',
    `\nExamples:\n${row.examples.map((example) => `  $ ${example}`).join('\n')}\n${exitCodes}`,
  );
  command.action((...given: unknown[]) => {
    const flags = command.opts<Record<string, unknown>>();
    // An argument that may be left out comes as undefined.
    const args = given
      .slice(0, -2)
      .flat()
      .filter((each) => each !== undefined)
      .map(String);
    row.check?.(args, flags);
    choose({
      command: command.name(),
      flags: flags as unknown as CommonFlags,
      outputs: flags,
      subject: row.subject?.(flags, args),
      verdict: row.verdict,
      run: (context) => row.run(args, flags, context),
    });
  });
  return command;
}

function patternFlags(): string[] {
  const flags = commandGroups.flatMap(({ rows }) => rows).flatMap((row) => row.flags);
  return flags.flatMap(({ flags: text }) => (text.endsWith(' <glob>') ? [text.split(' ')[0] ?? ''] : []));
}

function toOption(flag: Flag): Option {
  const option = new Option(flag.flags, flag.text);
  if (flag.parse) option.argParser(flag.parse);
  if (flag.choices) option.choices(flag.choices);
  if (flag.fallback !== undefined) option.default(flag.fallback);
  if (flag.required) option.makeOptionMandatory();
  return option;
}
