/** Pieces of pickles, written opcode by opcode: https://github.com/python/cpython/blob/main/Lib/pickletools.py */

const little = (value: number | bigint, bytes: number): Buffer => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer.subarray(0, bytes);
};

const code = (byte: number, ...rest: readonly Uint8Array[]): Buffer => Buffer.concat([Buffer.from([byte]), ...rest]);

export const op = {
  proto: (version: number) => code(0x80, little(version, 1)),
  frame: (bytes: number) => code(0x95, little(bytes, 8)),
  mark: () => Buffer.from('('),
  stop: () => Buffer.from('.'),
  pop: () => Buffer.from('0'),
  popMark: () => Buffer.from('1'),
  dup: () => Buffer.from('2'),
  none: () => Buffer.from('N'),
  emptyTuple: () => Buffer.from(')'),
  tuple: () => Buffer.from('t'),
  tuple1: () => code(0x85),
  emptyList: () => Buffer.from(']'),
  emptyDict: () => Buffer.from('}'),
  append: () => Buffer.from('a'),
  setItem: () => Buffer.from('s'),
  build: () => Buffer.from('b'),
  reduce: () => Buffer.from('R'),
  obj: () => Buffer.from('o'),
  newObj: () => code(0x81),
  newObjEx: () => code(0x92),
  int: (value: number) => code(0x4a, little(value, 4)),
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  inst: (module: string, name: string) => Buffer.from(`i${module}\n${name}\n`),
  stackGlobal: () => code(0x93),
  text: (text: string) => code(0x8c, little(Buffer.byteLength(text), 1), Buffer.from(text)),
  binUnicode: (text: string) => code(0x58, little(Buffer.byteLength(text), 4), Buffer.from(text)),
  binUnicode8: (text: string) => code(0x8d, little(Buffer.byteLength(text), 8), Buffer.from(text)),
  unicode: (line: string) => Buffer.from(`V${line}\n`),
  string: (line: string) => Buffer.from(`S${line}\n`),
  binString: (text: string) => code(0x54, little(Buffer.byteLength(text), 4), Buffer.from(text)),
  shortBinString: (text: string) => code(0x55, little(Buffer.byteLength(text), 1), Buffer.from(text)),
  bytes: (bytes: Uint8Array) => code(0x42, little(bytes.length, 4), bytes),
  bytes8: (length: number | bigint) => code(0x8e, little(length, 8)),
  byteArray8: (bytes: Uint8Array) => code(0x96, little(bytes.length, 8), bytes),
  nextBuffer: () => code(0x97),
  readonlyBuffer: () => code(0x98),
  memoize: () => code(0x94),
  put: (line: string) => Buffer.from(`p${line}\n`),
  get: (line: string) => Buffer.from(`g${line}\n`),
  binPut: (key: number) => code(0x71, little(key, 1)),
  binGet: (key: number) => code(0x68, little(key, 1)),
  longBinPut: (key: number) => code(0x72, little(key, 4)),
  longBinGet: (key: number) => code(0x6a, little(key, 4)),
  persId: (line: string) => Buffer.from(`P${line}\n`),
  binPersId: () => Buffer.from('Q'),
  ext1: (key: number) => code(0x82, little(key, 1)),
  ext2: (key: number) => code(0x83, little(key, 2)),
  ext4: (key: number) => code(0x84, little(key, 4)),
};

/** Opcodes one after the other. */
export function pickle(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat(parts);
}

/** `os.system('true')`, as every exploit begins. */
export function evilPickle(): Buffer {
  return pickle(op.proto(2), op.global('os', 'system'), op.binUnicode('true'), op.tuple1(), op.reduce(), op.stop());
}

/** What a state dictionary of torch asks for, without its numbers. */
export function tensorPickle(): Buffer {
  return pickle(
    op.proto(2),
    op.global('collections', 'OrderedDict'),
    op.emptyTuple(),
    op.reduce(),
    op.binUnicode('weight'),
    op.global('torch._utils', '_rebuild_tensor_v2'),
    op.mark(),
    op.mark(),
    op.binUnicode('storage'),
    op.global('torch', 'FloatStorage'),
    op.binUnicode('0'),
    op.tuple(),
    op.binPersId(),
    op.tuple(),
    op.reduce(),
    op.setItem(),
    op.stop(),
  );
}
