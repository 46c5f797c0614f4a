import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentOf } from '../../../src/core/stream.ts';
import { ByteCursor, windowsOf } from '../../../src/hub/safety/byte-cursor.ts';
import { type ByteRanges, rangesOf } from '../../../src/hub/safety/byte-ranges.ts';
import { isLegacyTorch, type PickleFindings, walkPickles } from '../../../src/hub/safety/pickle-file.ts';
import { opcodes } from '../../../src/hub/safety/pickle-opcodes.ts';
import { projectRoot } from '../../support/cli.ts';
import { evilPickle, op, pickle, tensorPickle } from '../../support/pickles.ts';

function walk(bytes: Uint8Array, kind: 'torch' | 'some' = 'some'): Promise<PickleFindings> {
  return walkPickles(new ByteCursor(windowsOf(rangesOf(contentOf(bytes)))), kind);
}

async function importsOf(...parts: readonly Uint8Array[]): Promise<string[]> {
  const { imports } = await walk(pickle(...parts));
  return imports.map(({ module, name, verdict }) => `${module ?? '?'} ${name ?? '?'} ${verdict}`);
}

interface Fixtures {
  cases: { name: string; imports: [string, string][]; bytes: string }[];
}

const fixtures = JSON.parse(readFileSync(resolve(projectRoot, 'fixtures/pickles/pickles.json'), 'utf8')) as Fixtures;
const plainFixtures = fixtures.cases.filter(({ name }) => name !== 'torch-zip');

describe('pickles that CPython wrote', () => {
  it.each(plainFixtures)('$name imports what its own disassembler says', async ({ bytes, imports }) => {
    const data = Buffer.from(bytes, 'base64');
    const found = await walk(data, isLegacyTorch(data) ? 'torch' : 'some');
    expect(found.imports.map(({ module, name }) => [module, name])).toEqual(imports);
    expect(found).toMatchObject({ truncated: false, isBroken: false });
  });

  it('tells a legacy file of torch by its first pickle', () => {
    const legacy = fixtures.cases.filter(({ bytes }) => isLegacyTorch(Buffer.from(bytes, 'base64')));
    expect(legacy.map(({ name }) => name)).toEqual(['torch-legacy']);
  });
});

describe('names on the stack', () => {
  const run = [op.emptyTuple(), op.reduce(), op.stop()];
  const texts: [string, Buffer, Buffer][] = [
    ['SHORT_BINUNICODE', op.text('os'), op.text('system')],
    ['BINUNICODE', op.binUnicode('os'), op.binUnicode('system')],
    ['BINUNICODE8', op.binUnicode8('os'), op.binUnicode8('system')],
    ['UNICODE with escapes', op.unicode('\\u006fs'), op.unicode('sy\\U00000073tem')],
    ['STRING with escapes', op.string("'\\x6fs'"), op.string('"s\\171stem"')],
    ['BINSTRING', op.binString('os'), op.shortBinString('system')],
  ];
  it.each(texts)('are resolved from %s', async (_, module, name) => {
    expect(await importsOf(op.proto(4), module, name, op.stackGlobal(), ...run)).toEqual(['os system dangerous']);
  });

  const memos: [string, Buffer, Buffer][] = [
    ['BINPUT and BINGET', op.binPut(7), op.binGet(7)],
    ['LONG_BINPUT and LONG_BINGET', op.longBinPut(70_000), op.longBinGet(70_000)],
    ['PUT and GET', op.put('1_2'), op.get(' 12')],
    ['MEMOIZE and GET of its number', op.memoize(), op.get('0')],
  ];
  it.each(memos)('are resolved through %s', async (_, put, get) => {
    const parts = [
      op.proto(4),
      op.text('os'),
      put,
      op.pop(),
      op.none(),
      get,
      op.text('system'),
      op.stackGlobal(),
      ...run,
    ];
    expect(await importsOf(...parts)).toEqual(['os system dangerous']);
  });

  it('count what is memoized as Python counts it', async () => {
    const memoized = [op.text('json'), op.binPut(0), op.binPut(5), op.text('os'), op.memoize(), op.pop()];
    const parts = [op.proto(4), ...memoized, op.binGet(2), op.text('system'), op.stackGlobal(), ...run];
    expect(await importsOf(...parts)).toEqual(['os system dangerous']);
  });

  it('are found below what other opcodes take away', async () => {
    const detour = [
      op.mark(), op.none(), op.none(), op.popMark(), op.mark(), op.pop(),
      op.emptyList(), op.none(), op.append(), op.pop(),
      op.emptyDict(), op.text('key'), op.none(), op.setItem(), op.pop(),
      op.none(), op.dup(), op.pop(), op.pop(),
      op.none(), op.none(), op.build(), op.pop(),
      op.none(), op.emptyTuple(), op.newObj(), op.pop(),
      op.none(), op.emptyTuple(), op.emptyDict(), op.newObjEx(), op.pop(),
      op.nextBuffer(), op.readonlyBuffer(), op.pop(),
      op.persId('7'), op.binPersId(), op.pop(),
      op.byteArray8(Buffer.from('os')), op.pop(), op.frame(0),
    ]; // prettier-ignore
    const parts = [op.proto(5), op.text('os'), ...detour, op.text('system'), ...detour, op.stackGlobal(), ...run];
    expect(await importsOf(...parts)).toEqual(['os system dangerous']);
  });

  const unknown: [string, Buffer[]][] = [
    ['is made by a call', [op.global('x', 'y'), op.emptyTuple(), op.reduce(), op.text('system')]],
    ['is a number', [op.int(3), op.text('system')]],
    ['is a bytes object', [op.bytes(Buffer.from('os')), op.text('system')]],
    ['is missing', [op.text('system')]],
    ['is longer than any name', [op.binUnicode('o'.repeat(5000)), op.text('system')]],
    ['is taken from a memo that lacks it', [op.binGet(9), op.text('system')]],
  ];
  it.each(unknown)('are dangerous when one %s', async (_, parts) => {
    const found = await importsOf(op.proto(4), ...parts, op.stackGlobal(), ...run);
    expect(found).toContain('? system dangerous');
  });
});

describe('imports', () => {
  it.each([
    ['GLOBAL', [op.global('posix', 'system')]],
    ['INST', [op.mark(), op.text('true'), op.inst('posix', 'system')]],
    ['OBJ', [op.mark(), op.global('posix', 'system'), op.text('true'), op.obj()]],
  ])('are found in %s', async (_, parts) => {
    expect(await importsOf(...parts, op.stop())).toEqual(['posix system dangerous']);
  });

  it.each([op.ext1(1), op.ext2(1), op.ext4(1)])('by number cannot be told', async (extension) => {
    expect(await importsOf(op.proto(2), extension, op.stop())).toEqual(['? ? dangerous']);
  });

  it.each([
    ['collections', 'OrderedDict', 'allowed'],
    ['torch', 'BFloat16Storage', 'allowed'],
    ['torch._utils', '_rebuild_parameter', 'allowed'],
    ['numpy._core.multiarray', '_reconstruct', 'allowed'],
    ['numpy._core.numeric', '_frombuffer', 'allowed'],
    ['numpy.core.multiarray', 'scalar', 'allowed'],
    ['__builtin__', 'set', 'allowed'],
    ['builtins', 'object', 'suspicious'],
    ['builtins', 'print', 'dangerous'],
    ['my_package', 'Model', 'suspicious'],
    ['transformers.training_args', 'TrainingArguments', 'suspicious'],
    ['copy_reg', '_reconstructor', 'suspicious'],
    ['constructor', 'constructor', 'suspicious'],
    ['__proto__', 'has', 'suspicious'],
    ['os.path', 'join', 'dangerous'],
    // What fickling calls so besides.
    ['atexit', 'register', 'dangerous'],
    ['codecs', 'open', 'dangerous'],
    ['codecs', 'decode', 'suspicious'],
    ['zipfile', 'ZipFile', 'dangerous'],
    ['tarfile', 'open', 'dangerous'],
    ['dbm.gnu', 'open', 'dangerous'],
    ['glob', 'glob', 'dangerous'],
    ['pexpect', 'run', 'dangerous'],
    ['jsonpickle', 'decode', 'dangerous'],
    ['yaml', 'unsafe_load', 'dangerous'],
    ['yaml', 'SafeLoader', 'suspicious'],
    ['pathlib', 'Path.write_text', 'dangerous'],
    ['pathlib', 'PosixPath', 'suspicious'],
    ['builtins', 'exec', 'dangerous'],
    ['__builtin__', 'apply', 'dangerous'],
    ['functools', 'partial', 'dangerous'],
    ['numpy.testing._private.utils', 'runstring', 'dangerous'],
    ['torch', 'serialization.os.system', 'dangerous'],
    ['torch', 'FloatStorage.from_file.__globals__', 'dangerous'],
    ['collections', 'OrderedDict.__reduce__', 'dangerous'],
    ['', 'x', 'dangerous'],
  ])('`%s` `%s` is %s', async (module, name, verdict) => {
    expect(await importsOf(op.text(module), op.text(name), op.stackGlobal(), op.stop())).toEqual([
      `${module} ${name} ${verdict}`,
    ]);
  });
});

describe('several pickles in one file', () => {
  it('are all read', async () => {
    expect(await walk(pickle(tensorPickle(), tensorPickle(), evilPickle()))).toMatchObject({ pickles: 3 });
    expect(await importsOf(tensorPickle(), evilPickle())).toContain('os system dangerous');
  });

  it('have a memo each', async () => {
    const first = pickle(op.proto(4), op.text('json'), op.memoize(), op.stop());
    expect(await importsOf(first, op.proto(4), op.text('os'), op.memoize(), op.pop(), op.binGet(0), op.text('system'), op.stackGlobal(), op.stop())).toEqual(['os system dangerous']); // prettier-ignore
  });

  it('leave alone what follows and is none', async () => {
    expect(await walk(pickle(tensorPickle(), Buffer.from([0xff, 0xfe])))).toMatchObject({
      pickles: 1,
      truncated: false,
    });
  });
});

describe('what hostile pickles try', () => {
  it('tells what it saw before the end came too early', async () => {
    const whole = evilPickle();
    const found = await walk(whole.subarray(0, whole.length - 2));
    expect(found).toMatchObject({ truncated: true, reason: 'ends early' });
    expect(found.imports).toHaveLength(1);
  });

  it('tells what it saw before bytes that are no opcode', async () => {
    const found = await walk(pickle(op.global('os', 'system'), Buffer.from([0xff])));
    expect(found).toMatchObject({ truncated: true, imports: [{ module: 'os', verdict: 'dangerous' }] });
  });

  describe('with frames that end within an argument, which readers read differently', () => {
    const put = (text: string, half: string, rest: string): Uint8Array[] => [
      op.binUnicode(text),
      op.frame(1 + half.length),
      Buffer.from(`p${half}${rest}\n`),
      op.pop(),
    ];
    const get = [op.binGet(2), op.binGet(3), op.stackGlobal(), op.stop()];
    const harmless = [op.binUnicode('collections'), op.binPut(2), op.binUnicode('OrderedDict'), op.binPut(3)];

    it.each<[string, Uint8Array[]]>([
      ['of a memo', [...harmless, ...put('os', '1', '2'), ...put('system', '1', '3'), ...get]],
      ['of a name', [op.frame(8), op.global('collections', 'OrderedDict'), op.stop()]],
      ['of a text', [op.frame(7), op.binUnicode('collections'), op.pop(), ...harmless, ...get]],
      ['of a frame', [op.frame(12), op.frame(40), ...harmless, ...get]],
    ])('%s', async (_, parts) => {
      const { imports } = await walk(pickle(op.proto(4), ...parts));
      expect(imports).toContainEqual({ module: null, name: null, verdict: 'dangerous' });
    });

    it('but not with frames that end where an argument does', async () => {
      const whole = op.global('collections', 'OrderedDict');
      const parts = [op.frame(whole.length), whole, op.frame(1), op.emptyTuple(), op.stop()];
      expect((await walk(pickle(op.proto(4), ...parts))).imports).toMatchObject([{ verdict: 'allowed' }]);
    });
  });

  it('reads the raw letters of a line as Python does', async () => {
    const raw = Buffer.from('V\u00e9\n', 'latin1');
    const { imports } = await walk(pickle(op.text('a'), raw, op.stackGlobal(), op.stop()));
    expect(imports).toMatchObject([{ module: 'a', name: '\u00e9' }]);
  });

  it('goes on behind a protocol that is not there yet', async () => {
    const found = await walk(pickle(op.proto(9), op.global('os', 'system'), op.stop()));
    expect(found).toMatchObject({ isBroken: true, imports: [{ module: 'os' }] });
  });

  it.each([2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 40n])('does not believe a length of %s', async (length) => {
    expect(await walk(pickle(op.proto(4), op.bytes8(length), op.stop()))).toMatchObject({ truncated: true });
  });

  it('refuses a negative length as Python does', async () => {
    const text = Buffer.concat([Buffer.from('T'), Buffer.from([0xff, 0xff, 0xff, 0xff])]);
    expect(await walk(pickle(text, op.stop()))).toMatchObject({ reason: 'is no pickle from some place on' });
  });

  it('keeps names that stand above more than the stack may hold', async () => {
    const many = Buffer.alloc(600_000, 'N');
    expect(await importsOf(op.proto(4), many, op.text('os'), op.text('system'), op.stackGlobal(), op.stop())).toEqual([
      'os system dangerous',
    ]);
  });

  it('calls dangerous what it can no longer follow', async () => {
    const filler = Buffer.concat(Array.from({ length: 600_000 }, () => Buffer.from([0x4e, 0x94, 0x30])));
    const parts = [op.proto(4), filler, op.text('os'), op.memoize(), op.pop(), op.longBinGet(600_000)];
    expect(await importsOf(...parts, op.text('system'), op.stackGlobal(), op.stop())).toEqual(['? system dangerous']);
  });

  it('ends after a bounded number of opcodes, and says so', async () => {
    const endless: ByteRanges = {
      size: Number.MAX_SAFE_INTEGER,
      read: (_, length) => Promise.resolve(Buffer.alloc(length, '(')),
    };
    const found = await walkPickles(new ByteCursor(windowsOf(endless)));
    expect(found).toMatchObject({ truncated: true, reason: 'is larger than what is looked through' });
  });

  it('passes over large values without reading them', async () => {
    const large = 2 ** 40;
    const head = pickle(op.proto(4), op.bytes8(large));
    const tail = pickle(op.global('os', 'system'), op.stop());
    let read = 0;
    const ranges: ByteRanges = {
      size: head.length + large + tail.length,
      read: (offset, length) => {
        const all = offset < head.length ? head.subarray(offset) : tail.subarray(offset - head.length - large);
        read += all.length;
        return Promise.resolve(all.subarray(0, length));
      },
    };
    expect((await walkPickles(new ByteCursor(windowsOf(ranges)))).imports).toHaveLength(1);
    expect(read).toBeLessThan(100);
  });
});

it('reads a pickle the same in windows of any size', async () => {
  const whole = pickle(
    tensorPickle(),
    op.proto(4), op.unicode('x'.repeat(3000)), op.text('os'), op.memoize(), op.binUnicode('y'.repeat(3000)), op.get('0'),
    op.text('system'), op.stackGlobal(), op.stop(),
  ); // prettier-ignore
  const expected = await walk(whole);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 200 }), async (window) => {
      const cursor = new ByteCursor((position) => Promise.resolve(whole.subarray(position, position + window)));
      expect(await walkPickles(cursor)).toEqual(expected);
    }),
  );
});

it('never throws and always ends on bytes of any kind', async () => {
  const known = [...opcodes.keys()].filter((byte) => opcodes[byte] !== undefined);
  const bytes = fc.array(fc.oneof(fc.constantFrom(...known), fc.constantFrom(0, 1, 10, 48, 49)), { maxLength: 200 });
  await fc.assert(
    fc.asyncProperty(bytes, async (data) => {
      expect((await walk(Buffer.from(data))).pickles).toBeGreaterThanOrEqual(0);
    }),
    { numRuns: 2000 },
  );
});
