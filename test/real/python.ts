import { readdir, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isExecutable, pathDirectories, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';

interface Interpreter {
  path: string;
  /** 13 for Python 3.13. */
  minor: number;
}

// A version manager's shim exists for versions that are switched off, so only what this prints counts.
const PROBE = 'import sys; v = sys.version_info; print(v[0], v[1], v.releaselevel, sys.executable)';

/** Every released Python 3 that runs here, newest first. */
export async function findPythons(): Promise<Interpreter[]> {
  const found = await Promise.all((await candidates()).map(probe));
  const running = found.filter((python) => python !== undefined);
  return running.sort((one, other) => other.minor - one.minor);
}

/** Makes a fresh virtual environment that holds these requirements. */
export async function makeVenv(python: string, directory: string, requirements: string[]): Promise<void> {
  if (!(await createVenv(python, directory))) {
    await installPackages(['python3-venv']);
    if (!(await createVenv(python, directory))) await runCommand(python, ['-m', 'venv', '--clear', directory]);
  }
  const options = ['--quiet', '--disable-pip-version-check', '--no-input'];
  await runCommand(join(directory, 'bin', 'python'), ['-m', 'pip', 'install', ...options, ...requirements]);
}

/** The version of a distribution in a virtual environment. */
export async function packageVersion(python: string, distribution: string): Promise<string> {
  const script = 'import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))';
  return (await runCommand(python, ['-c', script, distribution])).trim();
}

async function createVenv(python: string, directory: string): Promise<boolean> {
  await rm(directory, { recursive: true, force: true });
  return (await tryCommand(python, ['-m', 'venv', directory])).code === 0;
}

async function probe(path: string): Promise<Interpreter | undefined> {
  const { code, stdout } = await tryCommand(path, ['-c', PROBE]);
  const [major, minor, level, ...executable] = stdout.trim().split(' ');
  if (code !== 0 || major !== '3' || level !== 'final') return undefined;
  return { path: executable.join(' '), minor: Number(minor) };
}

async function candidates(): Promise<string[]> {
  const versions = join(homedir(), '.pyenv', 'versions');
  const names = await readdir(versions).catch(() => []);
  const managed = names.map((name) => join(versions, name, 'bin'));
  const lists = await Promise.all([...new Set([...pathDirectories(), ...managed])].map(pythonsIn));
  return lists.flat();
}

async function pythonsIn(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => []);
  const paths = names.filter((name) => /^python3(\.\d+)?$/.test(name)).map((name) => join(directory, name));
  const runnable = await Promise.all(paths.map(isExecutable));
  return paths.filter((_, index) => runnable[index]);
}
