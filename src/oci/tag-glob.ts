/**
 * Tags that a pattern means: `*` any characters, `?` one, `[a-z]` one of these, `[!a-z]` one of the others.
 * https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_14
 */
export function tagGlob(pattern: string): (tag: string) => boolean {
  const parts = pattern.match(/\[[!^]?\]?[^\]]*\]|[^]/g) ?? [];
  const expression = new RegExp(`^${parts.map(partOf).join('')}$`);
  return (tag) => expression.test(tag);
}

function partOf(part: string): string {
  if (part === '*') return '.*';
  if (part === '?') return '.';
  if (part.length === 1) return part.replace(/[\\^$.*+?()[\]{}|]/, '\\$&');
  const [, not, inside = ''] = /^\[([!^]?)([^]*)\]$/.exec(part) ?? [];
  return `[${not ? '^' : ''}${inside.replace(/[\\\]^[]/g, '\\$&')}]`;
}
