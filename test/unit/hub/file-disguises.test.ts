import { deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { contentOf } from '../../../src/core/stream.ts';
import { rangesOf } from '../../../src/hub/safety/byte-ranges.ts';
import { type FileSafety, inspectFile } from '../../../src/hub/safety/file-safety.ts';
import { evilPickle, op, pickle, tensorPickle } from '../../support/pickles.ts';
import { safetensorsFile } from '../../support/tensors.ts';
import { buildZip, torchZip } from '../../support/zips.ts';

/** Files that a loader takes for something else than their first bytes, their name or one of their directories say. */

const look = (path: string, bytes: Uint8Array): Promise<FileSafety> => inspectFile(path, rangesOf(contentOf(bytes)));
const codes = ({ findings }: FileSafety): string[] => findings.map(({ severity, code }) => `${severity} ${code}`);
const names = ({ pickle: found }: FileSafety): string[] =>
  (found?.imports ?? []).map(({ module, name, verdict }) => `${module} ${name} ${verdict}`);

const oldPickle = pickle(op.global('os', 'system'), op.stop());
const latin = (text: string): Buffer => Buffer.from(text, 'latin1');

/** An array with a header of any words. */
function array(header: string, data: Uint8Array): Buffer {
  const length = Buffer.from([header.length & 0xff, header.length >> 8]);
  return Buffer.concat([latin('\u0093NUMPY\u0001\u0000'), length, latin(header), data]);
}

/** A member of a tar; from before `ustar` when it has no magic. */
function tarMember(name: string, data: Uint8Array, magic = ''): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0, 'latin1');
  header.write(data.length.toString(8).padStart(11, '0'), 124);
  header.write(magic, 257);
  header.fill(' ', 148, 156);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return Buffer.concat([header, data, Buffer.alloc(512 - (data.length % 512))]);
}

/** The end record of a zip moved behind other bytes, so that its offsets are right there. */
function moved(zip: Buffer, by: number): Buffer {
  const bytes = Buffer.from(zip);
  const end = bytes.lastIndexOf('PK\u0005\u0006', undefined, 'latin1');
  for (let at = bytes.readUInt32LE(end + 16); at < end; at += 46 + bytes.readUInt16LE(at + 28))
    bytes.writeUInt32LE(bytes.readUInt32LE(at + 42) + by, at + 42);
  bytes.writeUInt32LE(bytes.readUInt32LE(end + 16) + by, end + 16);
  return bytes;
}

describe('the header of an array', () => {
  const shape = "'fortran_order': False, 'shape': (1,)";

  it.each([
    ['with its type last', `{${shape}, 'descr': '|O'}`],
    ['with the long name of the type', `{'descr': 'object', ${shape}, }`],
    ['with several types in one text', `{'descr': 'i4,O', ${shape}, }`],
    ['with an escaped letter', `{'descr': '|\\x4f', ${shape}, }`],
    ['with an escaped key', `{'descr': '<f4', '\\x64escr': 'O', ${shape}}`],
    ['with a text in two parts', `{'descr': '<f4' '|O', ${shape}, }`],
    ['with two types, of which the last counts', `{'descr': '<f4', ${shape}, 'descr': 'O'}`],
    ['with a comment', `{'descr': '<f4', #\n${shape}, 'descr': 'object'}`],
    ['longer than is read', `{'descr': '|O', ${shape}, }${' '.repeat(60_000)}`.padEnd(65_000)],
  ])('%s hides no pickle', async (_, header) => {
    expect(names(await look('x.npy', array(header, evilPickle())))).toEqual(['os system dangerous']);
    const zip = buildZip([{ name: 'a.npy', bytes: array(header, evilPickle()) }]);
    expect(names(await look('x.npz', zip))).toEqual(['os system dangerous']);
  });

  it.each([
    ['as NumPy writes it', `{'descr': '<f4', ${shape}, }`.padEnd(117)],
    ['as others write it', `{"shape":(2,3),"fortran_order":True,"descr":"|b1"}`],
    ['of Python 2', "{'descr': '<i8', 'fortran_order': False, 'shape': (10L, 3L), }"],
    ['of times', `{'descr': '<M8[ns]', ${shape}, }`],
    ['of fields', "{'descr': [('a b', '<i4'), ('c', '<U10', (2, 2))], 'fortran_order': False, 'shape': (), }"],
  ])('%s is that of plain numbers', async (_, header) => {
    expect(await look('x.npy', array(header, evilPickle()))).toMatchObject({ format: 'npy', findings: [] });
  });

  it('that nobody could read is told', async () => {
    expect(codes(await look('x.npy', array('{', evilPickle()).subarray(0, 10)))).toEqual([
      'warning not-what-its-name-says',
    ]);
  });

  it('of many commas is read in no time', async () => {
    const header = `{'descr': [${"('a', '<f4') ".repeat(4000)}], 'shape': (${'1 '.repeat(4000)}), }`;
    expect(codes(await look('x.npy', array(header, Buffer.alloc(4))))).toContain('danger object-array');
  });
});

describe('a zip', () => {
  const shown = torchZip(tensorPickle());
  const evil = torchZip(evilPickle());

  it('behind the comment of another one is the one that loaders take', async () => {
    const behind = moved(evil, shown.length);
    behind.writeUInt16LE(7, behind.length - 2);
    const before = Buffer.from(shown);
    before.writeUInt16LE(behind.length, before.length - 2);
    const found = await look('pytorch_model.bin', Buffer.concat([before, behind]));
    expect(names(found)).toContain('os system dangerous');
    expect(codes(found)).toContain('danger zip-structure');
  });

  it('with two zip64 records is read by both', async () => {
    const first = torchZip(tensorPickle(), 64, { zip64: true });
    const end = first.length - 42;
    const second = torchZip(evilPickle(), 64, { zip64: true, before: first.subarray(0, end), offsetsKnowBefore: true });
    // The locator leads to the first one, right before it stands the second one.
    second.writeBigUInt64LE(BigInt(end - 56), second.length - 34);
    expect(names(await look('x.bin', second))).toContain('os system dangerous');
  });

  it('with one directory for those who know zip64 and one for others is read by both', async () => {
    const zip = torchZip(tensorPickle(), 64, { zip64: true, before: evil, offsetsKnowBefore: true });
    const end = evil.length - 22;
    evil.copy(zip, zip.length - 10, end + 12, end + 20);
    expect(codes(await look('x.bin', zip))).toContain('danger zip-structure');
  });

  it.each(['a.npy\0/', 'a.npy\0.txt', 'a.npy/'])('with a member called %j is looked into there', async (name) => {
    const bytes = array("{'descr': '|O', 'fortran_order': False, 'shape': (), }", evilPickle());
    const found = await look('x.npz', buildZip([{ name, bytes }]));
    expect(names(found)).toEqual(['os system dangerous']);
    expect(codes(found).includes('danger zip-structure')).toBe(name.includes('\0'));
  });

  it('of torch with its members in capital letters is one of torch', async () => {
    const found = await look(
      'model.pt',
      buildZip([
        { name: 'archive/DATA.PKL', bytes: oldPickle },
        { name: 'archive/CODE/a.PY', bytes: latin('pass') },
      ]),
    );
    expect(found.format).toBe('torch-zip');
    expect(codes(found).sort()).toEqual(['danger import', 'warning torchscript']);
  });

  it('with an array where a storage was said is looked into there', async () => {
    const bytes = array("{'descr': '|O', 'fortran_order': False, 'shape': (), }", evilPickle());
    const zip = buildZip([
      { name: 'archive/data.pkl', bytes: tensorPickle() },
      { name: 'archive/data/0', bytes },
    ]);
    expect(names(await look('x.npz', zip))).toContain('os system dangerous');
  });

  it('that inflates to more than is looked through before its pickle comes is dangerous', async () => {
    const mebibytes = 32;
    const large = [
      op.none(),
      Buffer.from([0x42, 0, 0, 0, mebibytes / 16]),
      Buffer.alloc(mebibytes * 1024 * 1024),
      op.stop(),
    ];
    const zip = buildZip([{ name: 'a.bin', bytes: pickle(...large), deflate: true }]);
    const end = zip.length - 22;
    const entry = zip.subarray(zip.readUInt32LE(end + 16), end);
    const times = 17;
    zip.writeUInt32LE(times * entry.length, end + 12);
    const many = Buffer.concat([zip.subarray(0, end), ...Array<Buffer>(times - 1).fill(entry), zip.subarray(end)]);
    expect(codes(await look('x.bin', many))).toContain('danger member-not-read');
    expect(codes(await look('x.bin', zip.subarray(0, end)))).not.toContain('danger member-not-read');
  });

  it('at the end of a file that begins as another format is found where loaders look there', async () => {
    const zip = buildZip([
      { name: 'config.json', bytes: latin('{"class_name": "Lambda"}') },
      { name: 'model.weights.h5', bytes: Buffer.alloc(1) },
    ]);
    const found = await look('model.keras', Buffer.concat([latin('\u0089HDF\r\n\u001a\n'), Buffer.alloc(100), zip]));
    expect(codes(found)).toContain('danger lambda-layer');
  });

  it('whose configuration is shorter than the directory says is looked through all the same', async () => {
    const zip = buildZip([{ name: 'config.json', bytes: latin('{"class_name": "Lambda"}'), deflate: true }]);
    const entry = zip.lastIndexOf('PK\u0001\u0002', undefined, 'latin1');
    zip.writeUInt32LE(1000, entry + 24);
    expect(codes(await look('model.keras', zip))).toContain('danger lambda-layer');
  });
});

describe('a configuration of Keras', () => {
  const keras = (module: string): Buffer =>
    buildZip([
      { name: 'config.json', bytes: latin(`{"module": "${module}", "class_name": "function", "config": "run"}`) },
      { name: 'model.weights.h5', bytes: Buffer.alloc(1) },
    ]);

  it.each<[string, string[]]>([
    ['subprocess', ['danger import']],
    ['sub\\u0070rocess', ['danger import']],
    ['own.layers', ['warning import']],
    ['keras.src.layers', []],
    ['builtins', []],
  ])('that takes a part from %s', async (module, expected) => {
    expect(codes(await look('model.keras', keras(module)))).toEqual(expected);
    const hdf5 = Buffer.concat([latin('\u0089HDF\r\n\u001a\n'), latin(`"module": "${module}"`)]);
    expect(codes(await look('model.h5', hdf5))).toEqual(expected);
  });
});

describe('a pickle', () => {
  it.each([
    ['a GGUF file', 'pytorch_model.bin', latin('GGUF\u0003\u0000\u0000\u0000\u0000')],
    ['a picture', 'weights.dat', latin('GIF89a\u0000\u0000\u0000')],
    ['a program', 'weights.pt', latin('MZ\u0000')],
  ])('that begins like %s is found', async (_, path, start) => {
    const found = await look(path, Buffer.concat([start, oldPickle, Buffer.alloc(300)]));
    expect(codes(found)).toContain('danger second-format');
    expect(names(found)).toEqual(['os system dangerous']);
  });

  it('that is a whole safetensors file as well is found', async () => {
    // The length of the header is a text of 8 bytes, which ends behind `{"`; the rest stands in the name of a tensor.
    const length = Buffer.from([0x55, 8]).readUInt16LE();
    const name = Buffer.concat([
      op.shortBinString('a'.repeat(32)),
      op.shortBinString('b'.repeat(32)),
      Buffer.from('q\u0093'),
      op.stop(),
    ]);
    const header = Buffer.concat([latin('{"'), name, latin('":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}')]);
    const json = Buffer.concat([header, Buffer.alloc(length - header.length - 1, ' '), latin('}')]);
    const found = await look('model.ckpt', safetensorsFile(json, 0));
    expect(found).toMatchObject({ format: 'safetensors', tensors: 1 });
    expect(codes(found)).toContain('danger second-format');
  });

  it.each([
    ['its attribute is longer than any name', Buffer.concat([op.text('os'), op.binUnicode(`${'path.os.'.repeat(200)}system`), op.stackGlobal()])],
    ['its frames hide what it asks for', Buffer.concat([op.frame(2), op.text('os'), op.text('system'), op.stackGlobal()])],
  ])('without magic that breaks off is found although %s', async (_, asks) => {
    const bytes = pickle(op.none(), op.pop(), op.proto(4), asks, op.emptyTuple(), op.reduce(), Buffer.from([0xff]));
    const found = await look('pytorch_model.bin', bytes);
    expect(found.format).toBe('pickle');
    expect(codes(found)).toContain('danger import');
  }); // prettier-ignore

  it.each(['x.p', 'x.th', 'x.sav', 'x.dill', 'x.pk', 'x.npy', 'x.npz'])(
    'of protocol 0 is found in `%s`',
    async (path) => {
      expect(names(await look(path, oldPickle))).toEqual(['os system dangerous']);
    },
  );

  it.each<[string, Uint8Array]>([
    ['xz.joblib', Buffer.from('fd377a585a0000', 'hex')],
    ['old.joblib', Buffer.concat([latin('ZF0x1f'.padEnd(21)), deflateSync(evilPickle())])],
    ['alone.joblib', Buffer.from('5d00100000ffffffffffffffff00', 'hex')],
    ['sized.joblib', Buffer.from('5d001000002300000000000000004b', 'hex')],
    ['weights.pkl.bz2', latin('BZh91AY&SY')],
    ['weights.pkl.lzma', Buffer.from([0x6e, 0, 0, 1, 0, 0, 0xff])],
    ['model.nemo', tarMember('model_weights.ckpt', evilPickle(), 'ustar')],
    ['checkpoint.pth.tar', tarMember('storages', evilPickle(), 'ustar')],
    ['pytorch_model.bin', tarMember('storages', evilPickle())],
  ])('that is compressed or in a tar is not opened, and `%s` is dangerous', async (path, bytes) => {
    expect(codes(await look(path, bytes))).toContain('danger archive-not-read');
  });

  it.each(['m.pkl.gz', 'm.joblib', 'm.bin'])('that is compressed in a zip is not opened either: %s', async (name) => {
    for (const deflate of [false, true])
      expect(codes(await look('x.zip', buildZip([{ name, bytes: gzipSync(evilPickle()), deflate }])))).toContainEqual(
        expect.stringMatching(/^danger (?:archive|pickle)-not-read$/),
      );
  });

  it('that ends in the name of the first member of a tar is not all that torch reads', async () => {
    const bytes = tarMember('\u0080\u0002N.', Buffer.alloc(3));
    expect(codes(await look('pytorch_model.bin', bytes))).toEqual(['danger second-format']);
  });
});

it('numbers that begin like something are what they are', async () => {
  for (const start of ['5d00', '7801ff', '78da', '80', 'ffff', '4747'])
    for (const path of ['x.weights', 'weights.raw']) {
      const bytes = Buffer.concat([Buffer.from(start, 'hex'), Buffer.alloc(600, 0xf5)]);
      expect([start, codes(await look(path, bytes)).filter((code) => code.startsWith('danger'))]).toEqual([start, []]);
    }
});
