import { Header } from 'tar/header';
import { Pax } from 'tar/pax';

export const blockBytes = 512;
/** Two blocks of zeros end a tar: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06 */
export const endBytes = 2 * blockBytes;

/** Every member has the same owner, mode and time, so that the same content makes the same volume. */
const fixed = { uid: 0, gid: 0, uname: '', gname: '', mtime: new Date(0) };

/**
 * The header blocks of a member, with a PAX header where a path or size does not fit the plain one. Always the same
 * bytes for the same arguments: a reader makes them again and compares.
 */
export function tarHeader(member: { path: string; size: number } | { path: string; link: string }): Buffer {
  const isLink = 'link' in member;
  const values = isLink
    ? { ...fixed, path: member.path, linkpath: member.link, type: 'SymbolicLink' as const, mode: 0o777, size: 0 }
    : { ...fixed, path: member.path, type: 'File' as const, mode: 0o644, size: member.size };
  const header = new Header(values);
  const block = Buffer.alloc(blockBytes);
  if (!header.encode(block, 0)) return block;
  const pax = new Pax({ path: values.path, size: values.size, ...(isLink ? { linkpath: member.link } : {}) }).encode();
  // The name of the PAX member itself is nobody's path; a fixed one keeps it ASCII and short.
  const start = new Header({
    ...fixed,
    path: 'PaxHeader/next',
    type: 'ExtendedHeader',
    mode: 0o644,
    size: paxSize(pax),
  });
  start.encode(pax, 0);
  return Buffer.concat([pax, block]);
}

/** How long {@link tarHeader} is. Of most members that is known without making it. */
export function tarHeaderSize(member: Parameters<typeof tarHeader>[0]): number {
  const isPlain =
    plainName.test(member.path) && ('link' in member ? plainName.test(member.link) : member.size < plainSizeLimit);
  return isPlain ? blockBytes : tarHeader(member).length;
}

/** What surely fits the fields of a plain header. */
const plainName = /^[\x20-\x7e]{1,99}$/;
const plainSizeLimit = 8 ** 11;

/** Pax.encode writes a header of its own; the length of the records stands in it. */
function paxSize(pax: Buffer): number {
  return Number.parseInt(pax.subarray(124, 135).toString('latin1'), 8);
}

/** Bytes that fill the last block of a member. */
export function paddingOf(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes;
}
