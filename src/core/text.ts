const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `1.5 GiB`; three significant digits, binary units. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit] ?? 'B'}`;
}

/** `1 file`, `2 files`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Names as messages have them: `a`, `b`. @param none what is said where there are none */
export function inBackticks(names: readonly string[], none = 'none'): string {
  return names.map((name) => `\`${printable(name)}\``).join(', ') || none;
}

// Terminal escapes and other controls, line breaks of any kind, and the marks that reorder text: a hostile name must not paint on a screen.
// eslint-disable-next-line no-control-regex
const unprintable = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** `user:password@`, but not `name:tag@sha256:...`; begins where a word does, so that long ones are looked at once. */
const userInfo = /(?<![\w.%+-])([\w.%+-]+):[^\s/`'"\\]+@(?!sha\d+:)/g;

/** Text as a user typed it, with `***` for the password of an address: what is printed ends up in tickets. */
function withoutPasswords(text: string): string {
  return text.replace(userInfo, '$1:***@');
}

/** Text from outside, with everything that could steer a terminal written as `\u001b`, and without passwords. */
export function printable(text: string): string {
  return withoutPasswords(text).replace(
    unprintable,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** How many single letters to change (Levenshtein). */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1)
      next.push(
        Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    row = next;
  }
  return row[b.length] ?? 0;
}
