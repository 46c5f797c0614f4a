import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentOf } from '../../../src/core/stream.ts';
import { type ByteRanges, rangesOf } from '../../../src/hub/safety/byte-ranges.ts';
import { type FileSafety, inspectFile } from '../../../src/hub/safety/file-safety.ts';
import { readZipDirectory } from '../../../src/hub/safety/zip-directory.ts';
import { openMember } from '../../../src/hub/safety/zip-member.ts';
import { projectRoot } from '../../support/cli.ts';
import { evilPickle, op, pickle, tensorPickle } from '../../support/pickles.ts';
import { buildSafetensors } from '../../support/tensors.ts';
import { buildZip, torchZip } from '../../support/zips.ts';

const look = (path: string, bytes: Uint8Array | string): Promise<FileSafety> =>
  inspectFile(path, rangesOf(contentOf(Buffer.from(bytes))));
const codes = ({ findings }: FileSafety): string[] => findings.map(({ severity, code }) => `${severity} ${code}`);
const names = ({ pickle: found }: FileSafety): string[] =>
  (found?.imports ?? []).map(({ module, name, verdict }) => `${module} ${name} ${verdict}`);

const latin = (text: string): Buffer => Buffer.concat([Buffer.from(text, 'latin1'), Buffer.alloc(300)]);
const tensors = buildSafetensors([{ name: 'a', dtype: 'U8', shape: [4], bytes: 4 }]);
const numpy = (descr: string, data: Uint8Array): Buffer => {
  const header = `{'descr': ${descr}, 'fortran_order': False, 'shape': (1,), }\n`;
  return Buffer.concat([
    Buffer.from('\u0093NUMPY\u0001\u0000', 'latin1'),
    Buffer.from([header.length & 0xff, header.length >> 8]),
    Buffer.from(header),
    data,
  ]);
};
const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 12345\n`;
const page = '<!-- x --><!DOCTYPE html>\n<html><body>Sign in</body></html>';
const tar = Buffer.alloc(1024);
tar.write('ustar', 257);

describe('the format of a file', () => {
  it.each<[string, Uint8Array | string, string]>([
    ['x.safetensors', tensors, 'safetensors'],
    ['x.bin', torchZip(tensorPickle()), 'torch-zip'],
    ['x.npz', buildZip([{ name: 'a.npy', bytes: numpy("'<f4'", Buffer.alloc(4)) }]), 'npz'],
    ['x.keras', buildZip([{ name: 'config.json', bytes: Buffer.from('{}') }, { name: 'model.weights.h5', bytes: Buffer.alloc(3) }]), 'keras-zip'],
    ['x.zip', buildZip([{ name: 'a.txt', bytes: Buffer.from('a') }]), 'zip'],
    ['x.pkl', tensorPickle(), 'pickle'],
    ['x.npy', numpy("'<f4'", Buffer.alloc(4)), 'npy'],
    ['x.gguf', latin('GGUF\u0003'), 'gguf'],
    ['x.h5', latin('\u0089HDF\r\n\u001a\n'), 'hdf5'],
    ['x.onnx', latin('\u0008\u0007\u0012\u0007pytorch'), 'onnx'],
    ['x.tflite', latin('\u001c\u0000\u0000\u0000TFL3'), 'tflite'],
    ['x.json', '\ufeff {"a": 1}', 'json'],
    ['x.txt', 'größe 量', 'text'],
    ['x.html', page, 'html'],
    ['x.model', latin('\n\u000e\n\u0005<unk>'), 'binary'],
    ['x', '', 'empty'],
  ])('of `%s` is told by its bytes', async (path, bytes, format) => {
    const found = await look(path, bytes);
    expect(found).toMatchObject({ path, format, findings: [] });
  }); // prettier-ignore

  it.each<[string, Uint8Array, string]>([
    ['x.tar', tar, 'tar'],
    ['x.tgz', gzipSync('x'), 'compressed'],
    ['x.7z', latin('7z\u00bc\u00af\u0027\u001c'), '7z'],
  ])('of the archive `%s` is told, and that it is not opened', async (path, bytes, format) => {
    const found = await look(path, bytes);
    expect(found).toMatchObject({ format });
    expect(codes(found)).toEqual(['note archive-not-read']);
  });

  it.each<[string, Uint8Array | string, string]>([
    ['model.safetensors', pointer, 'broken lfs-pointer'],
    ['tokenizer.json', pointer, 'broken lfs-pointer'],
    ['pytorch_model.bin', page, 'broken html-page'],
    ['model.safetensors', torchZip(tensorPickle()), 'warning not-what-its-name-says'],
    ['model.gguf', tensors, 'warning not-what-its-name-says'],
    ['model.onnx', 'text', 'warning not-what-its-name-says'],
    ['pytorch_model.bin', '{"error": "not found"}', 'warning not-what-its-name-says'],
    ['pytorch_model.bin', '', 'warning not-what-its-name-says'],
    ['weights.pt', Buffer.alloc(100, 0xf5), 'warning not-what-its-name-says'],
    ['openvino_model.bin', Buffer.alloc(100, 0xf5), 'note not-what-its-name-says'],
    ['model.safetensors', tensors.subarray(0, -1), 'broken safetensors-header'],
    ['model.safetensors', Buffer.alloc(100, 0xf5), 'broken safetensors-header'],
    ['run.bin', latin('\u007fELF'), 'danger native-code'],
    ['model.pkl', gzipSync(evilPickle()), 'warning not-what-its-name-says'],
    ['data.tar', tar, 'note archive-not-read'],
    ['model.h5', latin('\u0089HDF\r\n\u001a\n{"class_name": "Lambda"}'), 'danger lambda-layer'],
  ])('`%s` that is something else is a finding', async (path, bytes, code) => {
    expect(codes(await look(path, bytes))).toContain(code);
  });

  it('lets prose speak of pointers', async () => {
    expect(await look('docs/lfs.md', pointer)).toMatchObject({ findings: [] });
  });
});

describe('pickles', () => {
  it.each([
    ['x.bin', evilPickle()],
    ['model.safetensors', evilPickle()],
    ['notes.txt', evilPickle()],
    ['old.pkl', pickle(op.global('os', 'system'), op.stop())],
    ['old.bin', pickle(op.global('os', 'system'), Buffer.from([0xff]))],
    ['no-protocol.model', pickle(op.text('os'), op.text('system'), op.stackGlobal(), op.stop())],
    ['array.npy', numpy("'|O'", evilPickle())],
    ['fields.npy', numpy("[('a', '<i4'), ('b', 'O')]", evilPickle())],
    ['arrays.npz', buildZip([{ name: 'a.npy', bytes: numpy("'|O'", evilPickle()), deflate: true }])],
    ['archive.zip', buildZip([{ name: 'anything', bytes: evilPickle() }])],
    ['member.zip', buildZip([{ name: 'x.dat', bytes: pickle(op.global('os', 'system'), op.stop()) }])],
  ])('are found in `%s`', async (path, bytes) => {
    const found = await look(path, bytes);
    expect(names(found)).toEqual(['os system dangerous']);
    expect(codes(found)).toContain('danger import');
  });

  it.each([
    ['vocab.txt', 'cat\ndog\n.bird\n'],
    ['words.bin', 'cat dog\nand so on'],
    ['weights.bin', Buffer.from([0x63, 0xf5, 0x0a, 0xf6, 0x0a, 0x2f, 0x2f])],
    ['random.bin', Buffer.from([0x93, 0x2f])],
  ])('are not seen in `%s`', async (path, bytes) => {
    expect((await look(path, bytes)).pickle).toBeUndefined();
  });

  it('are looked for in the storages of torch only when the file is at hand', async () => {
    const { cases } = JSON.parse(readFileSync(resolve(projectRoot, 'fixtures/pickles/pickles.json'), 'utf8')) as {
      cases: { name: string; bytes: string; imports: [string, string][] }[];
    };
    const zip = cases.find(({ name }) => name === 'torch-zip');
    const bytes = Buffer.from(zip?.bytes ?? '', 'base64');
    const far = await inspectFile('pytorch_model.bin', rangesOf(contentOf(bytes)), 'few-ranges');
    expect(far).toMatchObject({ format: 'torch-zip', findings: [], pickle: { pickles: 1, truncated: false } });
    expect(far.pickle?.imports.map(({ module, name }) => [module, name])).toEqual(zip?.imports);
    expect(names(await look('pytorch_model.bin', bytes))).toContain('os system dangerous');
  });

  it('are not seen in numbers that begin like one', async () => {
    const zip = torchZip(tensorPickle());
    zip.write('\u0080\u0002c\u00ff\n\u0000\n', zip.indexOf(Buffer.alloc(64)), 'latin1');
    expect(await look('x.bin', zip)).toMatchObject({ findings: [] });
  });

  it('that end too early are told', async () => {
    expect(await look('x.pkl', evilPickle().subarray(0, -1))).toMatchObject({ pickle: { truncated: true } });
    expect(codes(await look('x.pkl', tensorPickle().subarray(0, -1)))).toEqual(['danger pickle-not-read']);
  });
});

describe('zips', () => {
  const evil = { name: 'archive/data.pkl', bytes: evilPickle() };
  const other = { name: 'archive/version', bytes: Buffer.from('3\n') };

  it.each([
    ['stored', torchZip(evilPickle())],
    ['deflated', buildZip([{ ...evil, deflate: true }, other])],
    ['with zip64 fields', torchZip(evilPickle(), 64, { zip64: true })],
    ['with a comment', torchZip(evilPickle(), 64, { comment: 'made by hand' })],
  ])('give their pickles when they are %s', async (_, bytes) => {
    const found = await look('x.bin', bytes);
    expect(names(found)).toEqual(['os system dangerous']);
    expect(codes(found)).toEqual(['danger import']);
  });

  it.each([
    ['data before it', torchZip(evilPickle(), 64, { before: Buffer.from('PK\u0003\u0004 prefix') }), 'zip-structure'],
    ['data behind it', torchZip(evilPickle(), 64, { after: Buffer.from('more') }), 'zip-structure'],
    ['two members of one name', buildZip([evil, { ...evil, bytes: tensorPickle() }]), 'zip-structure'],
    ['a member whose own header has another name', buildZip([{ ...evil, localName: 'archive/else.pkl' }]), 'member-not-read'],
    ['an encrypted member', buildZip([{ ...evil, encrypted: true }]), 'member-not-read'],
    ['a method that is not known', buildZip([{ ...evil, method: 93 }]), 'member-not-read'],
    ['a zip in the zip', buildZip([{ name: 'inner.zip', bytes: torchZip(evilPickle()) }]), 'archive-not-read'],
    ['offsets that lead elsewhere', buildZip([evil, other], { shift: 7 }), 'member-not-read'],
    ['a Lambda layer', buildZip([{ name: 'config.json', bytes: Buffer.from('{"class_name": "Lambda"}'), deflate: true }, { name: 'model.weights.h5', bytes: Buffer.alloc(1) }]), 'lambda-layer'],
    ['a Lambda layer in other letters', buildZip([{ name: 'config.json', bytes: Buffer.from('{"cl\\u0061ss_name": "L\\u0061mbda"}') }]), 'lambda-layer'],
    ['a configuration too large to be looked through', buildZip([{ name: 'config.json', bytes: Buffer.alloc(5 * 1024 * 1024, ' '), deflate: true }]), 'member-not-read'],
  ])('with %s are dangerous', async (_, bytes, code) => {
    expect(codes(await look('x.bin', bytes))).toContain(`danger ${code}`);
  }); // prettier-ignore

  it('cut before their directory are dangerous', async () => {
    expect(codes(await look('x.bin', torchZip(evilPickle()).subarray(0, 200)))).toContain('danger zip-structure');
  });

  it('with members that overlap are dangerous', async () => {
    const zip = buildZip([evil, other]);
    const second = zip.lastIndexOf('PK\u0001\u0002', undefined, 'latin1');
    zip.writeUInt32LE(0, second + 42);
    expect(codes(await look('x.bin', zip))).toContain('danger zip-structure');
  });

  it('with a second directory are read by both', async () => {
    const hidden = buildZip([{ name: 'h.pkl', bytes: evilPickle() }]);
    const before = hidden.subarray(0, hidden.lastIndexOf('PK\u0005\u0006', undefined, 'latin1'));
    const shown = buildZip([{ name: 'a.txt', bytes: Buffer.from('a') }]);
    const zip = Buffer.concat([before, shown]);
    zip.writeUInt32LE(before.lastIndexOf('PK\u0001\u0002', undefined, 'latin1'), zip.length - 6);
    expect(names(await look('x.zip', zip))).toEqual(['os system dangerous']);
  });

  it('behind something else are found', async () => {
    const found = await look('x.bin', Buffer.concat([tensorPickle(), torchZip(evilPickle())]));
    expect(codes(found)).toContain('danger second-format');
    expect(names(found)).toContain('os system dangerous');
  });

  it('do not inflate without end', async () => {
    const zip = buildZip([{ name: 'data.pkl', bytes: Buffer.alloc(1_000_000), deflate: true }]);
    const ranges = rangesOf(contentOf(zip));
    const [entry] = (await readZipDirectory(ranges)).entries;
    const budget = { inflated: 100_000 };
    const member = entry && (await openMember(ranges, entry, budget));
    if (typeof member !== 'object') throw new Error('the member was wanted');
    expect(await member.cursor.fill(1_000_000)).toBe(false);
    await member.close();
    expect(budget.inflated).toBeGreaterThan(-100_000);
  });

  it('give up in good order on bytes of any kind', async () => {
    const good = torchZip(tensorPickle());
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), async (at, byte, length) => {
        const changed = Buffer.from(good.subarray(0, length));
        if (at < length) changed[at] = byte;
        expect((await look('x.bin', changed)).path).toBe('x.bin');
      }),
      { numRuns: 500 },
    );
  });

  it('of many gigabytes are read in a few ranges', async () => {
    const zip = torchZip(tensorPickle());
    const gap = 2 ** 33;
    let read = 0;
    const ranges: ByteRanges = {
      size: zip.length + gap,
      read: (offset, length) => {
        // A gap of zeros before the members, as a prefix of that length would leave it.
        read += length;
        const piece = Buffer.alloc(Math.min(length, zip.length + gap - offset));
        const from = Math.max(offset, gap);
        if (from < offset + piece.length) zip.copy(piece, from - offset, from - gap);
        if (offset === 0) piece.write('PK\u0003\u0004', 'latin1');
        return Promise.resolve(piece);
      },
    };
    const found = await inspectFile('x.bin', ranges);
    expect(found).toMatchObject({ format: 'torch-zip', pickle: { pickles: 1 } });
    expect(read).toBeLessThan(1024 * 1024);
  });
});
