import { MirrorError } from '../core/errors.ts';

/** `nats` -> where the image goes below the registry that it is imported to. */
export interface Rewrite {
  from: string;
  to: string;
}

/** The default keeps the source's host, so that two sources never meet; the colons of a port and of IPv6 are no part of a repository. */
export function defaultPlacement(name: string): string {
  const [, address, rest = ''] = /^\[([^\]]*)\](.*)$/.exec(name) ?? [];
  if (address === undefined) return name.replace(':', '-').toLowerCase();
  // A part of a repository begins and ends with a letter or a digit: `::1` is `0::1`.
  const host = address.replace(/^:/, '0:').replace(/:$/, ':0').replaceAll(':', '-');
  return `${host}${rest.replace(':', '-')}`.toLowerCase();
}

/**
 * Where an image goes: its own `to`, else the longest rewrite rule that fits, else source host and repository.
 * @param name `registry/repository`
 */
export function placementOf(name: string, to: string | undefined, rewrites: readonly Rewrite[]): string {
  if (to !== undefined) return to;
  const [rule] = rewrites.filter(({ from }) => name.startsWith(from)).sort((a, b) => b.from.length - a.from.length);
  return rule ? `${rule.to}${name.slice(rule.from.length)}` : defaultPlacement(name);
}

/** @throws E_MANIFEST when two different images would get one name */
export function refuseCollisions(
  images: readonly { reference: string; to: string; tag: string; digest: string }[],
): void {
  const taken = new Map<string, { reference: string; digest: string }>();
  for (const { reference, to, tag, digest } of images) {
    const other = taken.get(`${to}:${tag}`);
    if (other && other.digest !== digest)
      throw new MirrorError(
        'E_MANIFEST',
        `\`${other.reference}\` and \`${reference}\` would both be imported as \`${to}:${tag}\``,
        { hint: 'give one of them another `to`, or change `rewrite`' },
      );
    taken.set(`${to}:${tag}`, { reference, digest });
  }
}
