/** A tensor of a built safetensors file. */
export interface BuiltTensor {
  name: string;
  dtype: string;
  shape: number[];
  bytes: number;
}

/** The header's entries: tensors one after the other from 0 on. */
export function tensorEntries(tensors: readonly BuiltTensor[]): Record<string, unknown> {
  let end = 0;
  return Object.fromEntries(
    tensors.map(({ name, dtype, shape, bytes }) => {
      end += bytes;
      return [name, { dtype, shape, data_offsets: [end - bytes, end] }];
    }),
  );
}

/** A safetensors file of a header, JSON or its text, and so many bytes of zeros. */
export function safetensorsFile(header: unknown, dataBytes: number, lengthSaid?: bigint): Buffer {
  const text = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(lengthSaid ?? BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
}

/** A right file of these tensors. */
export function buildSafetensors(tensors: readonly BuiltTensor[], padding = 0): Buffer {
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  return safetensorsFile(JSON.stringify(tensorEntries(tensors)) + ' '.repeat(padding), bytes);
}
