import { readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * Whether a directory lies on a medium that is better written to one file after the other: one that can be taken out, or
 * that turns. Linux says so of its devices (https://www.kernel.org/doc/Documentation/ABI/stable/sysfs-block); a place without
 * a device, as in memory or on a network, is none of these. Where nothing can be known, the answer is yes.
 */
export async function isInOrderMedium(directory: string, sys = '/sys'): Promise<boolean> {
  const devices = join(sys, 'dev/block');
  if (!(await exists(devices))) return true;
  const { dev } = await stat(directory);
  const device = await realpath(join(devices, deviceNumber(dev))).catch(() => undefined);
  if (device === undefined) return false;
  // A partition has no answer of its own, the disk that it lies on has.
  const disk = (await exists(join(device, 'queue'))) ? device : dirname(device);
  if (await says(disk, 'removable')) return true;
  // What a hypervisor shows is called turning whatever it is.
  return !/^x?vd/.test(basename(disk)) && (await says(disk, 'queue/rotational'));
}

/** As Linux writes it: https://man7.org/linux/man-pages/man3/makedev.3.html */
function deviceNumber(dev: number): string {
  const number = BigInt(dev);
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & ~0xfffn);
  const minor = (number & 0xffn) | ((number >> 12n) & ~0xffn & 0xffffffffn);
  return `${major}:${minor}`;
}

async function says(disk: string, name: string): Promise<boolean> {
  const text = await readFile(join(disk, name), 'utf8').catch(() => '0');
  return text.trim() !== '0';
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
