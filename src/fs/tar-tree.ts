import { type FileHandle, open } from 'node:fs/promises';
import { compressionOf } from '../core/compression.ts';
import { MirrorError } from '../core/errors.ts';
import { linkTarget } from '../core/path.ts';
import type { FileTree } from '../core/ports.ts';
import { printable } from '../core/text.ts';
import { fileContent } from './read.ts';
import { parsePax, parseTarHeader, tarBlockBytes, type TarHeader, tarTypesWithoutBytes } from './tar-header.ts';

/** Archives may be hostile: what is held in memory of one is bounded. */
const maxMembers = 200_000;
const maxRecordBytes = 1024 * 1024;
const maxLinks = 16;

/** What stands under a name: bytes of the archive, another name, or both of two things. */
type Member = { offset: number; size: number } | { link: string } | 'twice';

/** What a PAX or GNU record says of the member that follows it. */
type Extension = Partial<Pick<TarHeader, 'path' | 'link' | 'size'>>;

/**
 * A tar as a FileTree. Its headers are read once; bytes are read straight out of the file, nothing is unpacked. Symbolic
 * and hard links are followed. Reads ustar, GNU long names and numbers, and PAX.
 * @param name of the archive, for messages
 * @throws E_USAGE when the file is compressed, E_CORRUPT, naming the member, when it is damaged or no tar
 */
export async function tarTree(path: string, name: string): Promise<FileTree> {
  const file = await open(path, 'r');
  try {
    const members = await new TarIndex(file, name).read();
    return {
      file: async (wanted) => {
        const found = await Promise.resolve(follow(members, wanted, name));
        return found && fileContent([{ path, ...found }]);
      },
    };
  } finally {
    await file.close();
  }
}

class TarIndex {
  readonly #file: FileHandle;
  readonly #name: string;
  readonly #members = new Map<string, Member>();
  #extension: Extension = {};

  constructor(file: FileHandle, name: string) {
    this.#file = file;
    this.#name = name;
  }

  async read(): Promise<ReadonlyMap<string, Member>> {
    const { size: end } = await this.#file.stat();
    if (end === 0) throw notTar(this.#name, 'is empty');
    refuseCompressed(await this.#bytes(0, Math.min(end, tarBlockBytes), 'a header'), this.#name);
    if (end < tarBlockBytes) throw notTar(this.#name, `is no tar archive: it has ${end} bytes`);
    for (let position = 0; position < end;) {
      const block = await this.#bytes(position, tarBlockBytes, 'a header');
      if (block.every((byte) => byte === 0)) break;
      const header = this.#header(block, position);
      const ownSize = this.#extends(header.type) || tarTypesWithoutBytes.includes(header.type);
      const size = ownSize ? header.size : (this.#extension.size ?? header.size);
      const offset = position + tarBlockBytes;
      const path = printable(this.#extension.path ?? header.path);
      if (offset + size > end)
        throw corrupt(this.#name, path, `is to have ${size} bytes, the archive ends after ${end - offset} of them`);
      if (this.#extends(header.type)) await this.#extend(header, offset);
      else this.#add({ ...header, ...this.#extension, size }, offset);
      position = offset + Math.ceil(size / tarBlockBytes) * tarBlockBytes;
    }
    return this.#members;
  }

  #header(block: Buffer, position: number): TarHeader {
    const header = parseTarHeader(block);
    if (typeof header !== 'string') return header;
    throw notTar(this.#name, `${position === 0 ? 'is no tar archive' : `is damaged at byte ${position}`}: ${header}`);
  }

  /** Records of a member to come: PAX for it (x) and for all (g), GNU's long name (L) and long link (K). */
  #extends(type: string): boolean {
    return 'xgLK'.includes(type);
  }

  async #extend({ type, size }: TarHeader, offset: number): Promise<void> {
    if (size > maxRecordBytes) throw corrupt(this.#name, 'an extended header', `has ${size} bytes`);
    const record = await this.#bytes(offset, size, 'an extended header');
    if (type === 'L') this.#extension.path = text(record);
    else if (type === 'K') this.#extension.link = text(record);
    else if (type === 'x') this.#extendByPax(record);
    // What a global header says of all members (a comment, a time) is nothing that a reader of bytes needs.
  }

  #extendByPax(record: Buffer): void {
    const records = parsePax(record);
    if (!records) throw corrupt(this.#name, 'an extended header', 'is damaged');
    const path = records.get('path');
    const link = records.get('linkpath');
    const size = records.get('size');
    if ([...records.keys()].some((key) => key.startsWith('GNU.sparse')))
      throw corrupt(this.#name, printable(path ?? 'a member'), 'is stored as a sparse file');
    if (path !== undefined) this.#extension.path = path;
    if (link !== undefined) this.#extension.link = link;
    if (size === undefined) return;
    this.#extension.size = Number(size);
    if (!/^\d+$/.test(size) || !Number.isSafeInteger(this.#extension.size))
      throw corrupt(this.#name, printable(path ?? 'a member'), `has the size \`${printable(size)}\``);
  }

  #add({ path, size, type, link }: TarHeader, offset: number): void {
    this.#extension = {};
    if (this.#members.size >= maxMembers)
      throw corrupt(this.#name, printable(path), `is one of more than ${maxMembers} members`);
    if (type === 'S') throw corrupt(this.#name, printable(path), 'is stored as a sparse file');
    const plain = plainPath(path);
    if (type === '0') this.#put(plain, { offset, size });
    else if (type === '1') this.#put(plain, { link: plainPath(link) });
    // A target that leaves the archive is none; it becomes an error when somebody asks for the link.
    else if (type === '2') this.#put(plain, { link: linkTarget(plain, link) ?? '' });
  }

  #put(path: string, member: Member): void {
    this.#members.set(path, this.#members.has(path) ? 'twice' : member);
  }

  async #bytes(offset: number, size: number, what: string): Promise<Buffer> {
    const buffer = Buffer.alloc(size);
    const { bytesRead } = await this.#file.read(buffer, 0, size, offset);
    if (bytesRead === size) return buffer;
    throw corrupt(this.#name, what, `at byte ${offset} is cut off`);
  }
}

/** @throws E_CORRUPT for links that lead nowhere or in a circle, and for names that stand for two things */
function follow(
  members: ReadonlyMap<string, Member>,
  wanted: string,
  name: string,
): { offset: number; size: number } | undefined {
  let path = plainPath(wanted);
  for (let steps = 0; ; steps += 1) {
    const member = members.get(path);
    if (member === 'twice') throw corrupt(name, printable(path), 'is in it more than once');
    if (member && 'offset' in member) return member;
    if (!member && steps === 0) return undefined;
    if (!member || steps === maxLinks)
      throw corrupt(name, printable(wanted), member ? 'is a link in a circle' : 'is a link to nothing');
    path = member.link;
  }
}

function refuseCompressed(start: Buffer, name: string): void {
  const kind = compressionOf(start);
  if (kind === undefined) return;
  throw new MirrorError('E_USAGE', `\`${name}\` is compressed with ${kind}, a plain tar was wanted`, {
    hint: `unpack it first: \`${kind} -dc ${name} > image.tar\``,
    at: { side: 'source', item: name },
  });
}

/** `./a/b/` and `a/b` are one name. */
function plainPath(path: string): string {
  return path.replace(/^(?:\.?\/)+/, '').replace(/\/+$/, '');
}

function text(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

function notTar(archive: string, what: string): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${archive}\` ${what}`, {
    hint: 'name a file that `docker save` or the like has made, or make it again',
    at: { side: 'source', item: archive },
  });
}

function corrupt(archive: string, member: string, what: string): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${member}\` in \`${archive}\` ${what}`, {
    hint: 'make or copy the archive again',
    at: { side: 'source', item: member },
  });
}
