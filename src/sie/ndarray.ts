import { MirrorError } from '../core/errors.ts';

type Read = (view: DataView, offset: number, little: boolean) => number;

const readers: Record<string, { size: number; read: Read }> = {
  f2: { size: 2, read: (view, offset, little) => halfFloat(view.getUint16(offset, little)) },
  f4: { size: 4, read: (view, offset, little) => view.getFloat32(offset, little) },
  f8: { size: 8, read: (view, offset, little) => view.getFloat64(offset, little) },
  // numpy has no bfloat16: ml_dtypes writes it as two bytes of no kind.
  V2: { size: 2, read: (view, offset, little) => brainFloat(view.getUint16(offset, little)) },
  b1: { size: 1, read: (view, offset) => view.getUint8(offset) },
  i1: { size: 1, read: (view, offset) => view.getInt8(offset) },
  u1: { size: 1, read: (view, offset) => view.getUint8(offset) },
  i2: { size: 2, read: (view, offset, little) => view.getInt16(offset, little) },
  u2: { size: 2, read: (view, offset, little) => view.getUint16(offset, little) },
  i4: { size: 4, read: (view, offset, little) => view.getInt32(offset, little) },
  u4: { size: 4, read: (view, offset, little) => view.getUint32(offset, little) },
  i8: { size: 8, read: (view, offset, little) => Number(view.getBigInt64(offset, little)) },
  u8: { size: 8, read: (view, offset, little) => Number(view.getBigUint64(offset, little)) },
};

/**
 * The numbers of an array as msgpack-numpy writes it; a shape of several dimensions is flattened, a scalar (`nd` false)
 * is one number. https://github.com/lebedov/msgpack-numpy
 * @throws E_SMOKE for a type that holds no numbers, and for half a number
 */
export function readNdarray(map: Record<string, unknown>): number[] | number {
  const { type, data } = map;
  const match = /^([<>|=])([fiubV]\d)$/.exec(typeof type === 'string' ? type : '');
  const reader = readers[match?.[2] ?? ''];
  if (!match || !reader || !(data instanceof Uint8Array) || data.length % reader.size !== 0)
    throw new MirrorError('E_SMOKE', `the answer has an array of the type \`${String(type)}\`, which cannot be read`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const values = Array.from({ length: data.length / reader.size }, (_, index) =>
    reader.read(view, index * reader.size, match[1] !== '>'),
  );
  return map['nd'] === false ? (values[0] ?? Number.NaN) : values;
}

/** IEEE 754 binary16; Node.js 20 has no Float16Array. */
function halfFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The upper half of a binary32. */
function brainFloat(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint16(0, bits);
  return view.getFloat32(0);
}
