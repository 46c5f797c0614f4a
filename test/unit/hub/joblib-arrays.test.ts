import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { contentOf } from '../../../src/core/stream.ts';
import { rangesOf } from '../../../src/hub/safety/byte-ranges.ts';
import { inspectCompressed } from '../../../src/hub/safety/compressed-safety.ts';
import { type FileSafety, inspectFile } from '../../../src/hub/safety/file-safety.ts';
import { FileFindings } from '../../../src/hub/safety/findings.ts';
import type { Closeness } from '../../../src/hub/safety/zip-safety.ts';
import { projectRoot } from '../../support/cli.ts';
import { evilPickle, op, pickle } from '../../support/pickles.ts';
import { torchZip } from '../../support/zips.ts';

/** What joblib writes: pickles with the numbers of arrays in them, and all of that compressed by zlib or gzip. */

const look = (bytes: Uint8Array, path = 'model.joblib', closeness?: Closeness): Promise<FileSafety> =>
  inspectFile(path, rangesOf(contentOf(bytes)), closeness);

const codes = ({ findings }: FileSafety): string[] => findings.map(({ severity, code }) => `${severity} ${code}`);

const imports = ({ pickle: found }: FileSafety): string[] =>
  (found?.imports ?? []).map(({ module, name, verdict }) => `${module ?? '?'}.${name ?? '?'} ${verdict}`);

const fixtures = JSON.parse(readFileSync(resolve(projectRoot, 'fixtures/pickles/joblib.json'), 'utf8')) as {
  cases: { name: string; bytes: string }[];
};

it.each(fixtures.cases)('$name is read to its end, and nothing is wrong with it', async ({ bytes }) => {
  const found = await look(Buffer.from(bytes, 'base64'));
  expect(found.findings).toEqual([]);
  expect(found.pickle).toMatchObject({ pickles: 1, truncated: false });
  expect(imports(found)).toContain('joblib.numpy_pickle.NumpyArrayWrapper allowed');
});

const none = op.none();
const setItems = Buffer.from('u');
const short = (value: number): Buffer => Buffer.from([0x4b, value]);
const wrapperClass = op.global('joblib.numpy_pickle', 'NumpyArrayWrapper');
const typeClass = op.global('numpy', 'dtype');
const typeOf = (code: string): Buffer => pickle(typeClass, op.text(code), Buffer.from([0x89, 0x88, 0x87]), op.reduce());
const stateOf = (flags: number): Buffer =>
  pickle(op.mark(), short(3), op.text('<'), none, none, none, op.int(0xffffffff), op.int(0xffffffff), short(flags), op.tuple()); // prettier-ignore

interface Parts {
  made?: Buffer;
  type?: Buffer;
  shape?: Buffer;
  settings?: readonly Buffer[];
  padding?: Buffer;
  numbers?: Buffer;
}

/** An array of four bytes. */
function array(parts: Parts = {}): Buffer {
  const settings = parts.settings ?? [
    op.text('shape'),
    parts.shape ?? pickle(short(4), op.tuple1()),
    op.text('dtype'),
    parts.type ?? pickle(typeOf('u1'), stateOf(0), op.build()),
    op.text('numpy_array_alignment_bytes'),
    parts.padding?.length === 0 ? none : short(16),
  ];
  const made = parts.made ?? pickle(wrapperClass, op.emptyTuple(), op.newObj());
  const numbers = [parts.padding ?? Buffer.from([1, 0xff]), parts.numbers ?? Buffer.alloc(4)];
  return pickle(made, op.emptyDict(), op.mark(), ...settings, setItems, op.build(), ...numbers);
}

const evil = pickle(op.text('os'), op.text('system'), op.stackGlobal(), op.text('true'), op.tuple1(), op.reduce());
const file = (...parts: readonly Buffer[]): Buffer => pickle(op.proto(4), ...parts, op.stop());

it('what stands behind an array is found', async () => {
  expect(codes(await look(file(array())))).toEqual([]);
  expect(imports(await look(file(array(), array(), evil)))).toContain('os.system dangerous');
});

/** A value of eight opcodes and what it swallows: who takes numbers for opcodes does not see what joblib runs behind them. */
const swallowing = (bytes: number): Buffer => pickle(Buffer.from([0x42]), op.int(bytes).subarray(1));

describe('of an array that joblib does not write so it is said that its pickle hides something:', () => {
  const built = pickle(typeOf('u1'), stateOf(0), op.build());
  it.each<[string, Buffer]>([
    ['padding that others take for opcodes', array({ padding: pickle(Buffer.from([0x42]), Buffer.alloc(0x42)) })],
    ['numbers that others take for opcodes', array({ padding: Buffer.alloc(0), numbers: Buffer.from('NNN.') })],
    ['numbers in which others find a name', array({ padding: Buffer.alloc(0), numbers: Buffer.from('ca\nb') })],
    ['a wrapper that was called', array({ made: pickle(wrapperClass, op.emptyTuple(), op.reduce()) })],
    ['a class out of a list', array({ made: pickle(op.mark(), wrapperClass, Buffer.from('l0')) })],
    ['a wrapper that was made with values', array({ made: pickle(wrapperClass, short(1), op.tuple1(), op.newObj()) })],
    ['a wrapper out of the memo', array({ made: pickle(wrapperClass, op.emptyTuple(), op.newObj(), op.memoize(), op.get('0')) })],
    ['a wrapper that stands there twice', array({ made: pickle(wrapperClass, op.emptyTuple(), op.newObj(), op.dup()) })],
    ['a class by another way', array({ made: pickle(op.global('joblib', 'numpy_pickle.NumpyArrayWrapper'), op.emptyTuple(), op.newObj()) })],
    ['an array of objects', array({ type: pickle(typeOf('u1'), stateOf(1), op.build()) })],
    ['a type that has its state twice', array({ type: pickle(built, stateOf(0), op.build()) })],
    ['a type without a state', array({ type: typeOf('u1') })],
    ['a shape that is computed', array({ shape: pickle(op.global('a', 'b'), op.emptyTuple(), op.reduce()) })],
    ['a shape with a length below nothing', array({ shape: pickle(op.int(0xffffffff), op.tuple1()) })],
    ['a setting that is computed', array({ settings: [op.global('a', 'b'), none] })],
    ['no settings', array({ settings: [] })],
    ['a frame that goes on', pickle(op.frame(5000), array())],
  ])('%s', async (_, bytes) => {
    const found = await look(file(bytes));
    expect(imports(found)).toContain('?.? dangerous');
    expect(found.findings.map(({ message }) => message)).toContainEqual(expect.stringMatching(/^may import what/));
    expect(imports(await look(file(bytes, swallowing(evil.length), evil)))).toContain('?.? dangerous');
  }); // prettier-ignore
});

describe('a compressed file under a name that loaders unpickle', () => {
  it.each<[string, Buffer]>([
    ['model.joblib', deflateSync(evilPickle())],
    ['model.pkl', gzipSync(evilPickle())],
    ['model.pkl.gz', gzipSync(evilPickle())],
    ['model.pkl.z', deflateSync(evilPickle())],
    ['pytorch_model.bin', gzipSync(pickle(op.global('os', 'system'), op.stop()))],
    ['several.pkl.gz', Buffer.concat([gzipSync(file(none)), gzipSync(evilPickle())])],
  ])('is opened: %s', async (path, bytes) => {
    const found = await look(bytes, path);
    expect(found.format).toBe('compressed');
    expect(imports(found)).toEqual(['os.system dangerous']);
    expect(found.findings[0]?.message).toBe('is compressed, and imports `os.system`');
  });

  it.each<[string, Buffer]>([
    ['holds a zip', gzipSync(torchZip(evilPickle()))],
    ['holds another one', gzipSync(gzipSync(evilPickle()))],
    ['has more behind it', Buffer.concat([deflateSync(file(none)), deflateSync(evilPickle())])],
    ['has other bytes behind it', Buffer.concat([gzipSync(file(none)), Buffer.from('more')])],
    ['is cut', gzipSync(pickle(file(none), Buffer.alloc(1e5, 'N'))).subarray(0, -10)],
    ['only begins like one', Buffer.from('78da00ffff', 'hex')],
    ['is compressed by bzip2', Buffer.from('BZh91AY&SY')],
  ])('is called dangerous when it %s', async (_, bytes) => {
    expect(codes(await look(bytes, 'model.pk'))).toContain('danger archive-not-read');
  });

  it('is not fetched for a look at it from afar when it is large', async () => {
    const large = deflateSync(pickle(op.bytes(Buffer.alloc(5 * 1024 * 1024)), op.stop()), { level: 0 });
    expect(codes(await look(large, 'model.joblib', 'few-ranges'))).toEqual(['danger archive-not-read']);
    expect(codes(await look(large, 'model.joblib'))).toEqual([]);
  });

  it('is asked for as a whole, and not piece by piece, when it is far away', async () => {
    const bytes = Buffer.from(deflateSync(pickle(op.bytes(Buffer.alloc(2 * 1024 * 1024)), evilPickle()), { level: 0 }));
    const sizes: number[] = [];
    const read = (offset: number, length: number): Promise<Buffer> => {
      sizes.push(length);
      return Promise.resolve(bytes.subarray(offset, offset + length));
    };
    const found = await inspectFile('model.joblib', { size: bytes.length, read }, 'few-ranges');
    expect(imports(found)).toEqual(['os.system dangerous']);
    expect(sizes.filter((size) => size > 65_536)).toEqual([bytes.length]);
    expect(sizes.length).toBeLessThan(6);
  });

  it('that inflates to ever more is not read to its end', async () => {
    const bytes = gzipSync(pickle(file(none), Buffer.alloc(1e6)));
    const found = new FileFindings();
    await inspectCompressed('x.pkl.gz', rangesOf(contentOf(bytes)), bytes, found, false, 1e5);
    expect(found.findings.map(({ code }) => code)).toEqual(['member-not-read']);
  });
});
