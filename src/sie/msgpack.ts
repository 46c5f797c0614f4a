import { decode, encode } from '@msgpack/msgpack';
import { MirrorError } from '../core/errors.ts';

export function encodeMsgpack(value: unknown): Uint8Array {
  return encode(value);
}

/**
 * Reads msgpack with arrays in the form of msgpack-numpy: a map whose five keys (`nd type kind shape data`) are byte
 * strings. https://github.com/lebedov/msgpack-numpy
 * @throws E_SMOKE when it is cut off or not msgpack
 */
export function decodeMsgpack(bytes: Uint8Array): unknown {
  try {
    return plain(
      decode(bytes, {
        rawStrings: false,
        mapKeyConverter: (key) => keyText(key),
        maxStrLength: limit,
        maxBinLength: limit,
        maxArrayLength: limit,
        maxMapLength: 100_000,
      }),
    );
  } catch (error) {
    throw new MirrorError(
      'E_SMOKE',
      `the answer is not msgpack, or is cut off: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

const limit = 64 * 1024 * 1024;

function keyText(key: unknown): string | number {
  if (typeof key === 'string' || typeof key === 'number') return key;
  if (key instanceof Uint8Array) return Buffer.from(key).toString('latin1');
  throw new MirrorError('E_SMOKE', 'a map of the answer has a key that is neither text nor bytes');
}

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  const map = value as Record<string, unknown>;
  if (map['nd'] === true) return numbers(map);
  return Object.fromEntries(Object.entries(map).map(([key, item]) => [key, plain(item)]));
}

const readers: Record<string, { size: number; read: (view: DataView, offset: number, little: boolean) => number }> = {
  f2: { size: 2, read: (view, offset, little) => halfFloat(view.getUint16(offset, little)) },
  f4: { size: 4, read: (view, offset, little) => view.getFloat32(offset, little) },
  f8: { size: 8, read: (view, offset, little) => view.getFloat64(offset, little) },
  i1: { size: 1, read: (view, offset) => view.getInt8(offset) },
  u1: { size: 1, read: (view, offset) => view.getUint8(offset) },
  i4: { size: 4, read: (view, offset, little) => view.getInt32(offset, little) },
};

/** One row of numbers; a shape of several dimensions is flattened. */
function numbers(map: Record<string, unknown>): number[] {
  const { type, data } = map;
  const match = /^([<>|=])(\w\d)$/.exec(typeof type === 'string' ? type : '');
  const reader = readers[match?.[2] ?? ''];
  if (!match || !reader || !(data instanceof Uint8Array) || data.length % reader.size !== 0)
    throw new MirrorError('E_SMOKE', `the answer has an array of the type \`${String(type)}\`, which cannot be read`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return Array.from({ length: data.length / reader.size }, (_, index) =>
    reader.read(view, index * reader.size, match[1] !== '>'),
  );
}

/** IEEE 754 binary16; Node.js 20 has no Float16Array. */
function halfFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
