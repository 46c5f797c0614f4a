import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runCommand } from './command.ts';
import { unpackPackage } from './debian.ts';
import type { Recipe } from './recipe.ts';

/** Servers taken out of their packages: an installation would start a service. */
export function unpackedRecipes(): Recipe[] {
  return [
    {
      ...unpacked('docker-registry', ['usr/bin/docker-registry']),
      wanted: '2.8',
      version: async (program) => {
        const found = await printedVersion(program);
        if (!found.startsWith('2.8.')) throw new Error(`docker-registry ${found} came instead of 2.8`);
        return found;
      },
    },
    {
      ...unpacked('containerd', ['usr/bin/containerd', 'usr/bin/ctr']),
      wanted: 'of Debian',
      version: printedVersion,
    },
  ];
}

function unpacked(name: string, programs: string[]): Pick<Recipe, 'name' | 'program' | 'install'> {
  const install = async (directory: string): Promise<void> => {
    const scratch = await mkdtemp(join(directory, `${name}-`));
    try {
      await unpackPackage(name, scratch);
      for (const path of programs) {
        const program = join(directory, 'bin', basename(path));
        await rm(program, { force: true });
        await copyFile(join(scratch, path), program);
      }
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  };
  return { name, program: join('bin', name), install };
}

async function printedVersion(program: string): Promise<string> {
  return /\d+\.\d+\.\d+/.exec(await runCommand(program, ['--version']))?.[0] ?? '?';
}
