import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { findCommand, runCommand, tryCommand } from './command.ts';

const LOCK_PATIENCE_MS = 300_000;

/** Installs Debian packages as root or by sudo; waits while another process holds apt's locks. */
export async function installPackages(packages: string[]): Promise<void> {
  if ((await findCommand('apt-get')) === undefined) {
    throw new Error(`apt-get is missing: install these by hand, then run again: ${packages.join(', ')}`);
  }
  await aptGet(['update'], packages);
  // What the machine has already stays at its version: that is its owner's business.
  await aptGet(['install', '-y', '--no-install-recommends', '--no-upgrade', ...packages], packages);
}

/** Puts the files of a Debian package below a directory; nothing is installed and no script of it runs. */
export async function unpackPackage(name: string, directory: string): Promise<void> {
  const download = (): ReturnType<typeof tryCommand> => tryCommand('apt-get', ['download', name], { cwd: directory });
  // A machine whose package lists are missing or old knows no such file.
  if ((await download()).code !== 0) {
    await aptGet(['update'], [name]);
    const { code, stderr } = await download();
    if (code !== 0) throw new Error(`apt-get download ${name} failed (exit ${code}):\n${stderr}`);
  }
  const [file] = (await readdir(directory)).filter((each) => each.endsWith('.deb'));
  if (file === undefined) throw new Error(`apt-get download ${name} left no package behind`);
  await runCommand('dpkg', ['-x', file, '.'], { cwd: directory });
}

async function aptGet(args: string[], packages: string[]): Promise<void> {
  const prefix = await rootPrefix(packages);
  const line = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', '-o', 'DPkg::Lock::Timeout=300', ...args];
  const [command = 'env', ...rest] = [...prefix, ...line];
  const deadline = Date.now() + LOCK_PATIENCE_MS;
  for (;;) {
    const { code, stdout, stderr } = await tryCommand(command, rest);
    if (code === 0) return;
    // DPkg::Lock::Timeout does not cover the lock of the package lists, which `update` takes.
    const locked = /could not get lock|unable to lock/i.test(stderr);
    if (!locked || Date.now() > deadline) {
      throw new Error(`apt-get ${args.join(' ')} failed (exit ${code}):\n${stdout}${stderr}`);
    }
    await sleep(3000);
  }
}

async function rootPrefix(packages: string[]): Promise<string[]> {
  if (process.getuid?.() === 0) return [];
  if ((await findCommand('sudo')) !== undefined) return ['sudo'];
  throw new Error(`neither root nor sudo: as root run apt-get install -y ${packages.join(' ')}, then run again`);
}
