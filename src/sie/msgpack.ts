import { decode, encode } from '@msgpack/msgpack';
import { MirrorError } from '../core/errors.ts';
import { readNdarray } from './ndarray.ts';

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
      {
        hint: 'it was cut off or changed on its way: see the logs of the worker, and what stands between it and this machine',
        cause: error,
      },
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
  if (map['nd'] === true || (map['nd'] === false && 'type' in map)) return readNdarray(map);
  return Object.fromEntries(Object.entries(map).map(([key, item]) => [key, plain(item)]));
}
