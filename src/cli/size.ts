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

/** `4GiB-1`, `700MiB`, `25GB`, `1048576`. @throws E_USAGE */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?(-1)?$/i.exec(text.trim());
  const unit = units[(match?.[2] ?? '').toLowerCase()];
  const size = Math.floor(Number(match?.[1]) * (unit ?? Number.NaN)) - (match?.[3] ? 1 : 0);
  if (!Number.isSafeInteger(size))
    throw new MirrorError('E_USAGE', `\`${text}\` is not a size`, {
      hint: 'write it as `4GiB-1`, `700MiB` or a number of bytes',
    });
  return size;
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
