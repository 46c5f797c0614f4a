import { encode } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';
import { decodeMsgpack, encodeMsgpack } from '../../../src/sie/msgpack.ts';
import { codeOfCall } from '../../support/failures.ts';

/** msgpack-numpy packs the keys of an array as byte strings, which no encoder for JavaScript does. */
function arrayOf(type: string, data: Uint8Array, shape: number[] = [data.length]): Buffer {
  const bytes = (text: string): Buffer => Buffer.concat([Buffer.from([0xc4, text.length]), Buffer.from(text)]);
  const pair = (key: string, value: Uint8Array): Buffer => Buffer.concat([bytes(key), value]);
  return Buffer.concat([
    Buffer.from([0x85]),
    pair('nd', encode(true)),
    pair('type', encode(type)),
    pair('kind', bytes('')),
    pair('shape', encode(shape)),
    pair('data', Buffer.from([0xc6, ...uint32(data.length), ...data])),
  ]);
}

function uint32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A document around an array, as the answer of an encode call. */
function answerOf(array: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0x81]), encode('items'), Buffer.from([0x91, 0x81]), encode('dense'), array]);
}

type Write = (view: DataView, offset: number, value: number, little: boolean) => void;

const kinds: [string, number, Write, number[]][] = [
  [
    'f4',
    4,
    (view, offset, value, little) => view.setFloat32(offset, value, little),
    [0, 1.5, -2.25, 2 ** -149, Infinity],
  ],
  ['f8', 8, (view, offset, value, little) => view.setFloat64(offset, value, little), [0, Math.PI, -1e300, 5e-324]],
  ['i1', 1, (view, offset, value) => view.setInt8(offset, value), [0, 127, -128]],
  ['u1', 1, (view, offset, value) => view.setUint8(offset, value), [0, 127, 255]],
  ['i4', 4, (view, offset, value, little) => view.setInt32(offset, value, little), [0, 2 ** 31 - 1, -(2 ** 31)]],
];

function write([, size, set, values]: (typeof kinds)[number], little: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * size));
  for (const [index, value] of values.entries()) set(view, index * size, value, little);
  return new Uint8Array(view.buffer);
}

const native = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

describe.each(kinds)('an array of %s', (...kind) => {
  const [type, , , values] = kind;

  it.each([
    ['<', true],
    ['>', false],
    ['=', native],
  ])('in the byte order %s', (order, little) => {
    expect(decodeMsgpack(arrayOf(order + type, write(kind, little)))).toEqual(values);
  });
});

it('reads arrays of single bytes that have no byte order', () => {
  expect(decodeMsgpack(arrayOf('|u1', Buffer.from([1, 255])))).toEqual([1, 255]);
  expect(decodeMsgpack(arrayOf('|i1', Buffer.from([1, 255])))).toEqual([1, -1]);
});

it('reads arrays at any place of the document, and empty ones', () => {
  expect(
    decodeMsgpack(answerOf(arrayOf('<f4', write(['f4', 4, (v, o, x, l) => v.setFloat32(o, x, l), [1, 2]], true)))),
  ).toEqual({
    items: [{ dense: [1, 2] }],
  });
  expect(decodeMsgpack(arrayOf('<f4', Buffer.alloc(0)))).toEqual([]);
});

it('flattens a shape of several dimensions', () => {
  expect(decodeMsgpack(arrayOf('|u1', Buffer.from([1, 2, 3, 4]), [2, 2]))).toEqual([1, 2, 3, 4]);
});

describe('half floats', () => {
  const half = (bits: number, order = '<'): unknown => {
    const bytes = Buffer.alloc(2);
    if (order === '<') bytes.writeUInt16LE(bits);
    else bytes.writeUInt16BE(bits);
    return decodeMsgpack(arrayOf(`${order}f2`, bytes));
  };

  it.each([
    ['zero', 0x0000, 0],
    ['minus zero', 0x8000, -0],
    ['one', 0x3c00, 1],
    ['minus two', 0xc000, -2],
    ['a third', 0x3555, 0.333251953125],
    ['the largest', 0x7bff, 65_504],
    ['the smallest normal', 0x0400, 2 ** -14],
    ['the largest subnormal', 0x03ff, (1023 / 1024) * 2 ** -14],
    ['the smallest subnormal', 0x0001, 2 ** -24],
    ['minus the smallest subnormal', 0x8001, -(2 ** -24)],
    ['infinity', 0x7c00, Infinity],
    ['minus infinity', 0xfc00, -Infinity],
    ['not a number', 0x7e00, Number.NaN],
    ['not a number, signalling', 0x7c01, Number.NaN],
  ])('%s', (_, bits, value) => {
    expect(half(bits)).toEqual([value]);
    expect(half(bits, '>')).toEqual([value]);
  });
});

it('reads what it wrote', () => {
  const value = { items: [{ text: 'größe' }], params: { output_types: ['dense'] }, none: null, yes: true, n: 1.5 };

  expect(decodeMsgpack(encodeMsgpack(value))).toEqual(value);
});

describe('what cannot be read', () => {
  it('is told, never a crash, wherever the answer is cut off', () => {
    const whole = answerOf(arrayOf('<f2', Buffer.alloc(16, 0x3c)));

    expect(decodeMsgpack(whole)).toHaveProperty('items');
    for (let length = 0; length < whole.length; length += 1)
      expect(codeOfCall(() => decodeMsgpack(whole.subarray(0, length)))).toBe('E_SMOKE');
  });

  it.each<[string, Uint8Array]>([
    ['bytes after the end', Buffer.concat([encode({}), Buffer.from([0])])],
    ['a login page', Buffer.from('<!DOCTYPE html><title>Log in</title>')],
    ['the reserved byte', Buffer.from([0xc1])],
    ['an unknown type', arrayOf('<f3', Buffer.alloc(6))],
    ['a type of objects', arrayOf('|O', Buffer.alloc(8))],
    ['a structured type', arrayOf('[(a, <f4)]', Buffer.alloc(8))],
    ['no type', arrayOf('', Buffer.alloc(8))],
    ['half a number', arrayOf('<f4', Buffer.alloc(7))],
    ['an array without data', encode({ nd: true, type: '<f4' })],
    ['an array whose data is text', encode({ nd: true, type: '<f4', data: 'abcd' })],
    ['a map with a list as key', Buffer.from([0x81, 0x91, 0x01, 0x01])],
    ['a prototype as key', Buffer.concat([Buffer.from([0x81]), encode('__proto__'), encode(1)])],
    ['a text of 4 GiB', Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff])],
    ['an array of 4 billion', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ['a map of 4 billion', Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff])],
    ['lists in lists without end', Buffer.concat([Buffer.alloc(200_000, 0x91), Buffer.from([0x01])])],
  ])('is told: %s', (_, bytes) => {
    expect(codeOfCall(() => decodeMsgpack(bytes))).toBe('E_SMOKE');
  });

  it('lets no key reach a prototype', () => {
    codeOfCall(() => decodeMsgpack(Buffer.concat([Buffer.from([0x81]), encode('__proto__'), encode({ polluted: 1 })])));

    expect('polluted' in {}).toBe(false);
  });
});
