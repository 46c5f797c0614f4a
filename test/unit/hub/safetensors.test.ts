import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentOf } from '../../../src/core/stream.ts';
import { rangesOf } from '../../../src/hub/safety/byte-ranges.ts';
import { checkSafetensors, type SafetensorsHeader } from '../../../src/hub/safety/safetensors.ts';
import { watchedContent } from '../../support/contents.ts';
import { type BuiltTensor, buildSafetensors, safetensorsFile, tensorEntries } from '../../support/tensors.ts';

const check = (bytes: Buffer): Promise<SafetensorsHeader> => checkSafetensors(rangesOf(contentOf(bytes)));
const two: BuiltTensor[] = [
  { name: 'a', dtype: 'F32', shape: [2, 3], bytes: 24 },
  { name: 'b', dtype: 'BF16', shape: [], bytes: 2 },
];
const entry = (changes: object = {}): object => ({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 4], ...changes } });

describe('a safetensors header that every loader takes', () => {
  it.each([
    ['two tensors', buildSafetensors(two), 2],
    ['none', buildSafetensors([]), 0],
    ['spaces behind it', buildSafetensors(two, 77), 2],
    ['metadata', safetensorsFile({ __metadata__: { format: 'pt' }, ...entry() }, 4), 1],
    ['a tensor without numbers', buildSafetensors([{ name: 'z', dtype: 'I64', shape: [0, 4], bytes: 0 }, ...two]), 3],
    ['numbers of less than a byte', buildSafetensors([{ name: 'q', dtype: 'F4', shape: [8], bytes: 4 }]), 1],
    ['a key that is new to us', safetensorsFile(entry({ later: [{ x: null }, -1.5e3, true] }), 4), 1],
  ])('may have %s', async (_, file, tensors) => {
    expect(await check(file)).toEqual({ tensors, fault: undefined });
  });
});

describe('a safetensors header with a fault', () => {
  const hole = { a: { dtype: 'U8', shape: [4], data_offsets: [0, 4] }, b: { dtype: 'U8', shape: [4], data_offsets: [8, 12] } };
  const overlap = { a: { dtype: 'U8', shape: [8], data_offsets: [0, 8] }, b: { dtype: 'U8', shape: [8], data_offsets: [4, 12] } };
  it.each([
    ['ends at once', Buffer.from('abc')],
    ['is longer than the file', safetensorsFile(entry(), 4, 5000n)],
    ['is longer than any loader takes', safetensorsFile(entry(), 4, 100_000_001n)],
    ['is as long as a number can be', safetensorsFile(entry(), 4, 2n ** 64n - 1n)],
    ['begins with a space', safetensorsFile(` ${JSON.stringify(entry())}`, 4)],
    ['is a list', safetensorsFile([], 0)],
    ['is cut', safetensorsFile(JSON.stringify(entry()).slice(0, -1), 4)],
    ['goes on behind its end', safetensorsFile(`${JSON.stringify(entry())}x`, 4)],
    ['is not UTF-8', safetensorsFile(Buffer.from('{"\u00ff":{}}', 'latin1'), 0)],
    ['names a tensor twice', safetensorsFile(`{"a":${JSON.stringify({ ...entry() })},"a":1}`, 4)],
    ['names a tensor twice, once with an escape', safetensorsFile(`{"a":${JSON.stringify(Object.values(entry())[0])},"\\u0061":${JSON.stringify(Object.values(entry())[0])}}`, 4)],
    ['has a key of a tensor twice', safetensorsFile('{"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}', 4)],
    ['has metadata twice', safetensorsFile('{"__metadata__":{},"__metadata__":{}}', 0)],
    ['has metadata that is no text', safetensorsFile({ __metadata__: { a: 1 }, ...entry() }, 4)],
    ['has an unknown type', safetensorsFile(entry({ dtype: 'F128' }), 4)],
    ['ends a tensor within a byte', buildSafetensors([{ name: 'q', dtype: 'F4', shape: [9], bytes: 4 }])],
    ['has a wrong span of less than bytes', buildSafetensors([{ name: 'q', dtype: 'F6_E2M3', shape: [4], bytes: 4 }])],
    ['has no offsets', safetensorsFile({ a: { dtype: 'F32', shape: [1] } }, 4)],
    ['has three offsets', safetensorsFile(entry({ data_offsets: [0, 4, 4] }), 4)],
    ['has a negative shape', safetensorsFile(entry({ shape: [-1] }), 4)],
    ['has a shape with a fraction', safetensorsFile('{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', 4)],
    ['has a shape beyond all numbers', safetensorsFile(entry({ shape: [2 ** 40, 2 ** 40] }), 4)],
    ['leaves a hole', safetensorsFile(hole, 12)],
    ['lets tensors overlap', safetensorsFile(overlap, 12)],
    ['does not begin at 0', safetensorsFile(entry({ data_offsets: [4, 8] }), 8)],
    ['ends before the file', safetensorsFile(entry(), 5)],
    ['ends behind the file', safetensorsFile(entry(), 3)],
    ['is nested too deep', safetensorsFile(`{"a":{"x":${'['.repeat(10_000)}`, 4)],
  ])('that %s', async (_, file) => {
    expect((await check(file)).fault).toBeTypeOf('string');
  });
}); // prettier-ignore

const types = { U8: 1, BOOL: 1, F16: 2, BF16: 2, F32: 4, I32: 4, F64: 8, U64: 8 } as const;
const tensor = fc
  .record({ dtype: fc.constantFrom(...Object.keys(types)), shape: fc.array(fc.nat(5), { maxLength: 3 }) })
  .map(({ dtype, shape }) => ({
    dtype,
    shape,
    bytes: shape.reduce((product, size) => product * size, types[dtype as keyof typeof types]),
  }));
const tensors = fc
  .array(tensor, { minLength: 1, maxLength: 6 })
  .map((list) => list.map((item, index) => ({ ...item, name: `t${index}` })));

type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
const mutations: ((entry: Entry) => void)[] = [
  (item) => (item.data_offsets[0] += 1),
  (item) => (item.data_offsets[1] += 1),
  (item) => (item.data_offsets[1] -= 1),
  (item) => item.shape.push(7, 11),
  (item) => (item.dtype = 'F31'),
  (item) => (item.data_offsets = [item.data_offsets[1] + 8, item.data_offsets[0]]),
];

it('takes what is built right and finds each single change', async () => {
  await fc.assert(
    fc.asyncProperty(tensors, fc.nat(), fc.constantFrom(...mutations), async (list, which, mutate) => {
      const bytes = list.reduce((sum, item) => sum + item.bytes, 0);
      expect(await check(buildSafetensors(list))).toEqual({ tensors: list.length, fault: undefined });
      expect((await check(safetensorsFile(tensorEntries(list), bytes + 1))).fault).toBeTypeOf('string');
      const changed = tensorEntries(list) as Record<string, Entry>;
      const item = Object.values(changed)[which % list.length];
      // A shape with a zero in it has no numbers, however it goes on.
      if (!item || (mutate === mutations[3] && item.shape.includes(0))) return;
      mutate(item);
      expect((await check(safetensorsFile(changed, bytes))).fault).toBeTypeOf('string');
    }),
  );
});

it('finds every cut of a file, and never throws on a changed byte', async () => {
  const file = buildSafetensors(two);
  for (let length = 0; length < file.length; length += 1)
    expect((await check(file.subarray(0, length))).fault).toBeTypeOf('string');
  await fc.assert(
    fc.asyncProperty(fc.nat(file.length - 1), fc.nat(255), async (at, byte) => {
      const changed = Buffer.from(file);
      changed[at] = byte;
      expect((await check(changed)).tensors).toBeGreaterThanOrEqual(0);
    }),
  );
});

it('reads no tensor data', async () => {
  const content = watchedContent(buildSafetensors([{ name: 'x', dtype: 'U8', shape: [5_000_000], bytes: 5_000_000 }]), {
    chunk: 16,
    broken: (position) => (position > 200 ? new Error('tensor data was read') : undefined),
  });
  expect(await checkSafetensors(rangesOf(content))).toEqual({ tensors: 1, fault: undefined });
});
