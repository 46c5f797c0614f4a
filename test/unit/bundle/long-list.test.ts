import { describe, expect, it } from 'vitest';
import { MadeList, PackedList } from '../../../src/bundle/lists/long-list.ts';

interface Value {
  path: string;
  size: number;
}

const values = (count: number): Value[] =>
  Array.from({ length: count }, (_, index) => ({ path: `extra/${index}/part-\u00e4.bin`, size: index }));

function packed(count: number): PackedList<Value> {
  const list = new PackedList<Value>();
  for (const value of values(count)) list.push(value);
  return list;
}

describe('a packed list', () => {
  it.each([0, 1, 31, 32, 33, 64, 65, 1000])('of %i elements gives back what was put in, in order', (count) => {
    const list = packed(count);

    expect(list).toHaveLength(count);
    expect([...list]).toEqual(values(count));
    // From the end, so that none is the one that was unpacked before.
    expect(values(count).map((_, index) => list.at(count - 1 - index))).toEqual(values(count).toReversed());
    expect(list.at(count)).toBeUndefined();
  });

  it('is gone through as an array is', () => {
    const [list, array] = [packed(100), values(100)];
    const isEven = ({ size }: Value): boolean => size % 2 === 0;

    expect(list.map(({ size }) => size)).toEqual(array.map(({ size }) => size));
    expect(list.filter(isEven)).toEqual(array.filter(isEven));
    expect(list.find(({ size }) => size === 40)).toEqual(array[40]);
    expect(list.find(({ size }) => size === 100)).toBeUndefined();
    expect(list.reduce((sum, { size }) => sum + size, 0)).toBe(4950);
  });

  it.each([
    [0, 0],
    [0, 40],
    [40, 0],
    [5, 3],
    [32, 32],
    [33, 65],
    [100, 7],
  ])('of %i elements with another one of %i has all of both, and goes on', (first, second) => {
    const list = packed(first);
    const other = packed(second);
    list.append(other);
    list.push({ path: 'last', size: -1 });
    other.push({ path: 'other', size: -2 });
    const wanted = [...values(first), ...values(second), { path: 'last', size: -1 }];

    expect([...list]).toEqual(wanted);
    expect(wanted.map((_, index) => list.at(index))).toEqual(wanted);
    expect(list).toHaveLength(wanted.length);
    expect(list.at(wanted.length)).toBeUndefined();
  });

  it('is seen through what makes something else of each', () => {
    const made = new MadeList(packed(70), ({ size }) => -size);

    expect([...made]).toEqual(values(70).map(({ size }) => -size));
    expect([made.length, made.at(69), made.at(70)]).toEqual([70, -69, undefined]);
  });

  it('takes more while it is gone through', () => {
    const list = packed(40);
    for (const { size } of list) if (size < 40) list.push({ path: 'more', size: 40 });

    expect(list).toHaveLength(80);
  });
});
