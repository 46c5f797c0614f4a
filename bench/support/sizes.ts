export const mebi = 1024 ** 2;

/** A size or a count at the scale of this run, at least one. */
export function scaled(value: number, scale: number): number {
  return Math.max(1, Math.round(value * scale));
}

/** `1.50 GiB`, `256 MiB`. */
export function sizeText(bytes: number): string {
  const count = bytes / mebi;
  if (count >= 1024) return `${(count / 1024).toFixed(2)} GiB`;
  return count >= 10 ? `${count.toFixed(0)} MiB` : `${count.toFixed(1)} MiB`;
}
