import { crc32, deflateRawSync } from 'node:zlib';

/** A member of a built zip, and how its headers lie. */
export interface ZipMember {
  name: string;
  bytes: Uint8Array;
  deflate?: boolean;
  encrypted?: boolean;
  /** Compression method that is written down, whatever was done. */
  method?: number;
  /** Name in the local header. */
  localName?: string;
  /** Bytes of padding in the local header, as torch aligns its storages. */
  padding?: number;
}

export interface ZipOptions {
  /** Sizes and offsets in zip64 fields. */
  zip64?: boolean;
  comment?: string;
  before?: Uint8Array;
  /** Offsets count from the first byte of `before`. */
  offsetsKnowBefore?: boolean;
  after?: Uint8Array;
  /** Offset that is added to that of each member in the directory. */
  shift?: number;
}

/** A zip, byte for byte as told: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT */
export function buildZip(members: readonly ZipMember[], options: ZipOptions = {}): Buffer {
  const before = options.before ?? Buffer.alloc(0);
  const known = options.offsetsKnowBefore === true ? before.length : 0;
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = known;
  for (const member of members) {
    const local = localHeader(member);
    central.push(centralHeader(member, offset + (options.shift ?? 0), options.zip64 === true));
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(central);
  const end = endRecords(members.length, directory.length, offset, options);
  return Buffer.concat([before, ...locals, directory, end, options.after ?? Buffer.alloc(0)]);
}

function packed({ bytes, deflate }: ZipMember): Buffer {
  return deflate === true ? deflateRawSync(bytes) : Buffer.from(bytes);
}

function methodOf({ deflate, method }: ZipMember): number {
  return method ?? (deflate === true ? 8 : 0);
}

function localHeader(member: ZipMember): Buffer {
  const name = Buffer.from(member.localName ?? member.name);
  const data = packed(member);
  const extra = Buffer.alloc(member.padding ?? 0);
  const header = Buffer.alloc(30);
  header.write('PK\u0003\u0004', 'latin1');
  header.writeUInt16LE(45, 4);
  header.writeUInt16LE(member.encrypted === true ? 1 : 0, 6);
  header.writeUInt16LE(methodOf(member), 8);
  header.writeUInt32LE(crc32(member.bytes), 14);
  header.writeUInt32LE(data.length, 18);
  header.writeUInt32LE(member.bytes.length, 22);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(extra.length, 28);
  return Buffer.concat([header, name, extra, data]);
}

function centralHeader(member: ZipMember, offset: number, zip64: boolean): Buffer {
  const name = Buffer.from(member.name);
  const numbers = [member.bytes.length, packed(member).length, offset];
  const extra = Buffer.alloc(zip64 ? 28 : 0);
  if (zip64) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    for (const [index, value] of numbers.entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * index);
  }
  const [size = 0, compressed = 0] = zip64 ? numbers.map(() => 0xffff_ffff) : numbers;
  const header = Buffer.alloc(46);
  header.write('PK\u0001\u0002', 'latin1');
  header.writeUInt16LE(45, 6);
  header.writeUInt16LE(member.encrypted === true ? 1 : 0, 8);
  header.writeUInt16LE(methodOf(member), 10);
  header.writeUInt32LE(crc32(member.bytes), 16);
  header.writeUInt32LE(compressed, 20);
  header.writeUInt32LE(size, 24);
  header.writeUInt16LE(name.length, 28);
  header.writeUInt16LE(extra.length, 30);
  header.writeUInt32LE(zip64 ? 0xffff_ffff : offset, 42);
  return Buffer.concat([header, name, extra]);
}

function endRecords(count: number, size: number, offset: number, options: ZipOptions): Buffer {
  const comment = Buffer.from(options.comment ?? '');
  const end = Buffer.alloc(22);
  end.write('PK\u0005\u0006', 'latin1');
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(options.zip64 === true ? 0xffff_ffff : size, 12);
  end.writeUInt32LE(options.zip64 === true ? 0xffff_ffff : offset, 16);
  end.writeUInt16LE(comment.length, 20);
  if (options.zip64 !== true) return Buffer.concat([end, comment]);
  const record = Buffer.alloc(56);
  record.write('PK\u0006\u0006', 'latin1');
  record.writeBigUInt64LE(44n, 4);
  record.writeBigUInt64LE(BigInt(count), 24);
  record.writeBigUInt64LE(BigInt(count), 32);
  record.writeBigUInt64LE(BigInt(size), 40);
  record.writeBigUInt64LE(BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.write('PK\u0006\u0007', 'latin1');
  locator.writeBigUInt64LE(BigInt(offset + size), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([record, locator, end, comment]);
}

/** A file as `torch.save` writes it, with a pickle and storages of zeros. */
export function torchZip(pickle: Uint8Array, storageBytes = 64, options: ZipOptions = {}): Buffer {
  return buildZip(
    [
      { name: 'archive/data.pkl', bytes: pickle },
      { name: 'archive/byteorder', bytes: Buffer.from('little') },
      { name: 'archive/data/0', bytes: Buffer.alloc(storageBytes), padding: 37 },
      { name: 'archive/version', bytes: Buffer.from('3\n') },
    ],
    options,
  );
}
