import { MirrorError } from '../core/errors.ts';

const units: Record<string, number> = {
  '': 1,
  b: 1,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  tb: 1000 ** 4,
};

/** What fits on a medium, or into a file on it, in bytes. */
const media = new Map([
  ['fat32', 4 * 1024 ** 3 - 1],
  ['dvd', 4_700_372_992],
  ['dvd-dl', 8_543_666_176],
  ['bd25', 25_025_314_816],
  ['bd50', 50_050_629_632],
]);

/** `fat32`, `dvd`, `4GiB-1`, `700MiB`, `25GB`, `1048576`. @throws E_USAGE */
export function parseSize(text: string): number {
  const medium = media.get(text.trim().toLowerCase());
  if (medium !== undefined) return medium;
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?(-1)?$/i.exec(text.trim());
  const unit = units[(match?.[2] ?? '').toLowerCase()];
  const size = Math.floor(Number(match?.[1]) * (unit ?? Number.NaN)) - (match?.[3] ? 1 : 0);
  if (!Number.isSafeInteger(size))
    throw new MirrorError('E_USAGE', `\`${text}\` is not a size`, {
      hint: `write it as \`4GiB-1\`, \`700MiB\`, a number of bytes, or one of ${[...media.keys()].join(', ')}`,
    });
  return size;
}

/** What is left free beside a volume that fills a medium: for the tool, the inventory and the file system. */
const besideVolume = 64 * 1024 ** 2;

/** The same for a volume: the name of a disc is what fits there beside everything else of the bundle. @throws E_USAGE */
export function parseVolumeSize(text: string): number {
  const name = text.trim().toLowerCase();
  return parseSize(text) - (media.has(name) && name !== 'fat32' ? besideVolume : 0);
}

/** @throws E_USAGE */
export function parseCount(name: string, least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least)
      throw new MirrorError('E_USAGE', `\`${name} ${text}\`: a whole number from ${least} was wanted`);
    return value;
  };
}
