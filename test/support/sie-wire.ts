import { encode } from '@msgpack/msgpack';

/** Number formats of answers, spelled as numpy does. */
export type Dtype = '<f2' | '<f4' | '<f8' | '>f2' | '>f4' | '>f8' | '<V2' | '|i1' | '|u1' | 'binary';

/** One embedding as an answer carries it; `values` is null where a fault asks for it. */
export interface EncodedItem {
  id?: string;
  output: 'dense' | 'sparse' | 'multivector';
  dtype: Dtype;
  /** Of a vector, of the vocabulary, or of a token. */
  dims: number;
  /** Of a multivector one token after the other. */
  values: number[] | null;
  /** Of a sparse vector. */
  indices?: number[];
}

/** What becomes a list in JSON, and in msgpack what msgpack-numpy writes. */
class NumpyArray {
  readonly dtype: Dtype | '<i4';
  readonly rows: readonly (readonly number[])[];
  readonly isMatrix: boolean;

  constructor(dtype: Dtype | '<i4', rows: readonly (readonly number[])[], isMatrix = false) {
    this.dtype = dtype;
    this.rows = rows;
    this.isMatrix = isMatrix;
  }

  json(): unknown {
    const rows = this.rows.map((row) => (this.dtype === 'binary' ? [...pack(row)] : row.map(clip(this.dtype))));
    return this.isMatrix ? rows : rows[0];
  }

  msgpack(): Uint8Array[] {
    const rows = this.rows.map((row) => toBytes(row, this.dtype));
    const [first = []] = this.rows;
    const length = this.dtype === 'binary' ? Math.ceil(first.length / BITS) : first.length;
    return [
      // Its keys are byte strings, which the library cannot write as keys of a map.
      mapHeader(5),
      encode(Buffer.from('nd')),
      encode(true),
      encode(Buffer.from('type')),
      encode(this.dtype === 'binary' ? '|u1' : this.dtype),
      encode(Buffer.from('kind')),
      encode(Buffer.alloc(0)),
      encode(Buffer.from('shape')),
      encode(this.isMatrix ? [rows.length, length] : [length]),
      encode(Buffer.from('data')),
      encode(Buffer.concat(rows)),
    ];
  }
}

const NAMES: Record<string, string> = {
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  V2: 'bfloat16',
  i1: 'int8',
  u1: 'uint8',
};
const BITS = 8;

/** An answer as JSON: what is no number there becomes null. */
export function jsonAnswer(model: string, items: readonly EncodedItem[]): Buffer {
  const body = items.map((item) => {
    const fields = fieldsOf(item)?.map(([name, value]) => [name, value instanceof NumpyArray ? value.json() : value]);
    return {
      ...(item.id === undefined ? {} : { id: item.id }),
      [item.output]: fields ? Object.fromEntries(fields) : null,
    };
  });
  return Buffer.from(JSON.stringify({ model, items: body }));
}

/** An answer as msgpack, arrays as msgpack-numpy writes them. A `keys` above two promises more than follows. */
export function msgpackAnswer(model: string, items: readonly EncodedItem[], keys = 2): Buffer {
  const body = items.flatMap((item) => {
    const fields = fieldsOf(item);
    return [
      mapHeader(item.id === undefined ? 1 : 2),
      ...(item.id === undefined ? [] : [encode('id'), encode(item.id)]),
      encode(item.output),
      ...(fields ? [mapHeader(fields.length), ...fields.flatMap(packField)] : [encode(null)]),
    ];
  });
  return Buffer.concat([
    mapHeader(keys),
    encode('model'),
    encode(model),
    encode('items'),
    arrayHeader(items.length),
    ...body,
  ]);
}

function packField([name, value]: [string, unknown]): Uint8Array[] {
  return [encode(name), ...(value instanceof NumpyArray ? value.msgpack() : [encode(value)])];
}

/** As sie_server/types/outputs.py has them. */
function fieldsOf({ output, dtype, dims, values, indices }: EncodedItem): [string, unknown][] | undefined {
  if (!values) return undefined;
  const named: [string, unknown] = ['dtype', dtypeName(dtype)];
  if (output === 'dense') return [['dims', dims], named, ['values', new NumpyArray(dtype, [values])]];
  if (output === 'sparse')
    return [
      ['dims', dims],
      named,
      ['indices', new NumpyArray('<i4', [indices ?? []])],
      ['values', new NumpyArray(dtype, [values])],
    ];
  const tokens = Array.from({ length: values.length / dims }, (_, at) => values.slice(at * dims, (at + 1) * dims));
  return [['token_dims', dims], ['num_tokens', tokens.length], named, ['values', new NumpyArray(dtype, tokens, true)]];
}

/** As numpy.packbits has it: a bit for each number above zero, the highest first. */
function pack(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(Math.ceil(values.length / BITS));
  for (const [index, value] of values.entries()) {
    const byte = Math.floor(index / BITS);
    if (value > 0) bytes[byte] = (bytes[byte] ?? 0) | (0x80 >> (index % BITS));
  }
  return bytes;
}

function toBytes(values: readonly number[], dtype: Dtype | '<i4'): Buffer {
  if (dtype === 'binary') return pack(values);
  const size = Number(dtype[2]);
  const bytes = Buffer.alloc(values.length * size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const little = !dtype.startsWith('>');
  const fit = clip(dtype);
  for (const [index, value] of values.entries()) {
    const at = index * size;
    if (dtype.endsWith('f8')) view.setFloat64(at, value, little);
    else if (dtype.endsWith('f4')) view.setFloat32(at, value, little);
    else if (dtype === '<i4') view.setInt32(at, value, little);
    else if (dtype.endsWith('f2')) view.setUint16(at, toHalf(value), little);
    else if (dtype.endsWith('V2')) view.setUint16(at, toBrain(value), little);
    else if (dtype === '|i1') view.setInt8(at, fit(value));
    else view.setUint8(at, fit(value));
  }
  return bytes;
}

/** Whole-number formats hold a vector scaled to their range, the others hold it as it is. */
function clip(dtype: Dtype | '<i4'): (value: number) => number {
  if (dtype === '|i1') return (value) => Math.max(-127, Math.min(127, Math.round(value * 127)));
  if (dtype === '|u1') return (value) => Math.max(0, Math.min(255, Math.round((value + 1) * 127.5)));
  return (value) => value;
}

/** IEEE 754 half precision, rounded to nearest. */
function toHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65_520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  if (size < 2 ** -25) return sign;
  // A mantissa that rounds up to 2048 carries into the exponent by itself.
  const mantissa = Math.round(size / 2 ** (exponent - 10));
  return mantissa < 1024 ? sign | mantissa : sign | (((exponent + 15) << 10) + (mantissa - 1024));
}

/** The upper half of a binary32, cut off. */
function toBrain(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return view.getUint16(0);
}

function dtypeName(dtype: Dtype): string {
  return NAMES[dtype.slice(1)] ?? dtype;
}

function mapHeader(size: number): Uint8Array {
  return Uint8Array.of(0x80 | size);
}

function arrayHeader(size: number): Uint8Array {
  return size < 16 ? Uint8Array.of(0x90 | size) : Uint8Array.of(0xdc, size >> 8, size & 0xff);
}
