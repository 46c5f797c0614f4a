import { describe, expect, it } from 'vitest';
import { TextMap } from '../../../src/bundle/lists/text-map.ts';

const texts = Array.from(
  { length: 5000 },
  (_, index) => `hub/models--a--b/blobs/${index.toString(16).padStart(40, '0')}`,
);

describe('numbers by texts', () => {
  it('are found by the same text only', () => {
    const map = new TextMap();
    for (const [index, text] of texts.entries()) map.set(text, index);

    expect(texts.map((text) => map.get(text))).toEqual([...texts.keys()]);
    expect(
      texts.filter((text) => map.has(`${text}0`) || map.has(text.slice(1)) || map.has(text.toUpperCase())),
    ).toEqual([]);
    expect(map.has('')).toBe(false);
  });

  it('are the last that were set', () => {
    const map = new TextMap();
    for (const value of [1, 2, 0]) map.set('a', value);

    expect(map.get('a')).toBe(0);
  });

  it('stay when the first that is not 0 comes after many that are', () => {
    const map = new TextMap();
    for (const [index, text] of texts.entries()) map.set(text, index < 4000 ? 0 : index);

    expect(texts.map((text) => map.get(text))).toEqual(texts.map((_, index) => (index < 4000 ? 0 : index)));
  });

  it.each([
    ['a/b/c', 'a/b'],
    ['a/b/c/d', 'a/b'],
    ['x/y', 'x'],
    ['a/b', undefined],
    ['a/bc/d', undefined],
    ['a', undefined],
    ['', undefined],
  ])('of what stands above %j are those of %j', (text, above) => {
    const map = new TextMap();
    for (const each of ['a/b', 'x']) map.set(each, 0);

    expect(map.beginningOf(text, '/')).toBe(above);
  });
});
