import { describe, expect, it } from 'vitest';
import { type Invocation, parseCommandLine } from '../../../src/cli/program.ts';
import { version } from '../../../src/core/version.ts';
import { codeOfCall } from '../../support/failures.ts';

interface Said {
  invocation: Invocation | undefined;
  out: string;
  err: string;
}

function parse(...argv: string[]): Said {
  const said: Said = { invocation: undefined, out: '', err: '' };
  said.invocation = parseCommandLine(
    argv,
    (text) => (said.out += text),
    (text) => (said.err += text),
  );
  return said;
}

const codeOfArgs = (...argv: string[]): string => codeOfCall(() => parse(...argv));

const help = parse('--help').out;
const commands = [...help.matchAll(/^ {2}([a-z]+)\b.*[[<]/gm)]
  .map(([, name = '']) => name)
  .filter((name) => name !== 'help');

it('lists its commands', () => {
  expect(commands).toEqual(
    expect.arrayContaining([
      'plan',
      'pull',
      'snapshot',
      'copy',
      'bundle',
      'verify',
      'inspect',
      'import',
      'values',
      'smoke',
      'keygen',
    ]),
  );
  expect(help).toContain('Exit codes:');
});

describe.each(commands)('%s --help', (command) => {
  const { out, invocation } = parse(command, '--help');
  const examples = out.split('\n').filter((line) => line.startsWith('  $ '));

  it('shows two examples or more, each of this command', () => {
    expect(examples.length).toBeGreaterThanOrEqual(2);
    expect(
      examples.filter((line) => !line.includes(`sie-mirror ${command}`) && !line.includes(`sie-mirror.mjs ${command}`)),
    ).toEqual([]);
  });

  it('shows examples that can be typed', () => {
    const words = examples.map((line) => line.replace(/^ {2}\$ .*?sie-mirror(?:\.mjs)? /, '').split(' '));

    expect(words.map((argv) => parse(...argv).invocation?.command)).toEqual(words.map(() => command));
  });

  it('shows the exit codes and the flags of every command', () => {
    expect(invocation).toBeUndefined();
    expect(out).toContain('Exit codes:');
    for (const flag of [
      '--json',
      '--quiet',
      '--verbose',
      '--concurrency',
      '--ca',
      '--insecure-host',
      '--hosts-dir',
      '--progress',
    ])
      expect(out).toContain(flag);
  });

  it('refuses a flag that it does not know', () => {
    expect(codeOfArgs(command, '--no-such-flag')).toBe('E_USAGE');
  });
});

it('prints its version', () => {
  expect(parse('--version')).toEqual({ invocation: undefined, out: `${version}\n`, err: '' });
});

it.each<[string, string[]]>([
  ['no command', []],
  ['an unknown command', ['no-such-command']],
  ['an unknown flag', ['--no-such-flag']],
  ['an argument that is missing', ['import']],
  ['an argument too many', ['verify', 'a', 'b']],
  ['a flag without its value', ['bundle', '--out']],
  ['a flag that is required', ['bundle']],
  ['a size that is none', ['bundle', '--out', 'x', '--volume-size', 'much']],
  ['a count that is none', ['verify', 'x', '--concurrency', '0']],
  ['an unknown way to show progress', ['verify', 'x', '--progress', 'loud']],
  ['a filter that there is not', ['snapshot', 'a/b', '--filter', 'some']],
  ['a type of repo that there is not', ['snapshot', 'a/b', '--type', 'kernel']],
])('refuses %s', (_, argv) => {
  expect(codeOfArgs(...argv)).toBe('E_USAGE');
});

it('hands flags over as they were parsed', () => {
  const line = 'copy a b --json -q --concurrency 3 --insecure-host x:1 --insecure-host y --progress none';
  const { invocation } = parse(...line.split(' '));

  expect(invocation?.command).toBe('copy');
  expect(invocation?.flags).toMatchObject({
    json: true,
    quiet: true,
    concurrency: 3,
    insecureHost: ['x:1', 'y'],
    progress: 'none',
  });
});

it('says that patterns want quotes where a shell has made several words of one', () => {
  const said: string[] = [];
  const copy = (...argv: string[]): string =>
    codeOfCall(() =>
      parseCommandLine(
        ['copy', 'a', 'b', ...argv],
        () => {},
        (text) => said.push(text),
      ),
    );

  expect([copy('c'), said.join('').includes('quotes')]).toEqual(['E_USAGE', false]);
  expect([copy('--tags', 'v1.txt', 'v2.txt'), said.join('').includes('quotes')]).toEqual(['E_USAGE', true]);
});
