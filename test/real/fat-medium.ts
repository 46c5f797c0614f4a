import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findCommand, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';

/** A FAT32 image as a medium. The kernel mounts it where it knows FAT, else fusefat does. Mounting needs root. */
export interface FatMedium {
  image: string;
  /** Where it is mounted. */
  path: string;
  mount: (flags: string) => Promise<void>;
  unmount: () => Promise<void>;
}

/** @param directory where the image and the place to mount it are made */
export async function makeFatMedium(directory: string): Promise<FatMedium> {
  const programs = { 'mkfs.vfat': 'dosfstools', mdir: 'mtools', fusefat: 'fusefat' };
  const found = await Promise.all(Object.keys(programs).map(findCommand));
  const missing = Object.values(programs).filter((_, index) => found[index] === undefined);
  if (missing.length > 0) await installPackages(missing);
  const image = join(directory, 'fat.img');
  const path = join(directory, 'medium');
  await mkdir(path);
  return {
    image,
    path,
    mount: async (flags) => {
      const kernel = await tryCommand('mount', ['-t', 'vfat', '-o', `loop,${flags}`, image, path]);
      if (kernel.code !== 0) await runCommand('fusefat', ['-o', flags === 'ro' ? 'ro' : 'rw+', image, path]);
    },
    unmount: async () => void (await tryCommand('umount', [path])),
  };
}

/** Writes a new, empty file system into the image. */
export async function formatFat(image: string, bytes: number, cluster: number): Promise<void> {
  await runCommand('rm', ['-f', image]);
  await runCommand('truncate', ['-s', String(bytes), image]);
  await runCommand('mkfs.vfat', ['-F', '32', '-s', String(cluster / 512), image]);
}
