import { BlockList, isIP } from 'node:net';

/** Where an address leads, from the nearest to the farthest. */
export type Reach = 'link-local' | 'loopback' | 'private' | 'public';

const linkLocal = listOf('169.254.0.0/16', 'fe80::/10', 'fd00:ec2::254/128');
const loopback = listOf('127.0.0.0/8', '0.0.0.0/8', '::1/128', '::/128');
const closed = listOf('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7', 'fec0::/10');

function listOf(...subnets: string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address = '', bits] = subnet.split('/');
    list.addSubnet(address, Number(bits), address.includes(':') ? 'ipv6' : 'ipv4');
  }
  return list;
}

/**
 * How far a literal address reaches; undefined for a name. What clouds serve credentials from counts as link-local.
 * https://www.iana.org/assignments/iana-ipv4-special-registry/ and the same for IPv6
 * @param hostname as `URL.hostname` gives it, which has brought decimal and hexadecimal forms of IPv4 into the usual one
 */
export function reachOf(hostname: string): Reach | undefined {
  const name = hostname.replace(/\.$/, '').toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost')) return 'loopback';
  if (name === 'metadata.google.internal') return 'link-local';
  const address = name.replace(/^\[|\]$/g, '');
  const family = isIP(address);
  if (family === 0) return undefined;
  const plain = family === 6 ? (embedded(address) ?? address) : address;
  const type = isIP(plain) === 6 ? 'ipv6' : 'ipv4';
  if (linkLocal.check(plain, type)) return 'link-local';
  if (loopback.check(plain, type)) return 'loopback';
  return closed.check(plain, type) ? 'private' : 'public';
}

/** The IPv4 address that a mapped, compatible, NAT64 or 6to4 one leads to. */
function embedded(address: string): string | undefined {
  const words = wordsOf(address);
  const leading = words.slice(0, 6).join(':');
  const [high, low] = words[0] === 0x20_02 ? [words[1], words[2]] : [words[6], words[7]];
  const leads =
    words[0] === 0x20_02 ||
    leading === '0:0:0:0:0:65535' ||
    leading === '100:65435:0:0:0:0' ||
    (leading === '0:0:0:0:0:0' && (words[6] ?? 0) > 0);
  if (!leads || high === undefined || low === undefined) return undefined;
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** The eight words of an IPv6 address. */
function wordsOf(address: string): number[] {
  // An address in a URL may end in dots; the parser of URLs writes them as words.
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [before = '', after] = plain.split('::');
  const read = (part: string | undefined): number[] =>
    part ? part.split(':').map((word) => Number.parseInt(word, 16)) : [];
  const [start, end] = [read(before), read(after)];
  return [...start, ...Array.from({ length: 8 - start.length - end.length }, () => 0), ...end];
}

const order: readonly Reach[] = ['link-local', 'loopback', 'private', 'public'];

/** Whether a server that reaches `from` may send us to `to`: only outwards, or it could have us ask what it cannot see itself. */
export function maySend(from: Reach, to: Reach): boolean {
  return order.indexOf(to) >= order.indexOf(from);
}
