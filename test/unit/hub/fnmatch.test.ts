import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert, pre, property, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePattern, patternOf } from '../../../src/hub/selection/fnmatch.ts';

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, '../../../fixtures/fnmatch.json'), 'utf8')) as [
  pattern: string,
  text: string,
  fits: boolean,
][];

describe('a pattern', () => {
  it('fits what it fits in CPython', () => {
    expect(vectors.length).toBeGreaterThanOrEqual(3000);
    expect(vectors.filter(([, , fits]) => fits).length).toBeGreaterThan(500);
    expect(vectors.filter(([pattern, text, fits]) => compilePattern(pattern)(text) !== fits)).toEqual([]);
  });

  it.each([
    ['docs/*', 'docs/a/b', true],
    ['*.md', 'x/y.md', true],
    ['README*', 'x/README.md', false],
    ['scheduler.*', 'x/scheduler.pt', false],
    ['*', '.hidden', true],
    ['*.JSON', 'a.json', false],
    ['[~-&!]', 'x', true],
    ['[a', '[a', true],
    ['{a,b}', 'a', false],
  ])('%j on %j: %j', (pattern, text, fits) => {
    expect(compilePattern(pattern)(text)).toBe(fits);
  });

  it('without marks fits itself only', () => {
    assert(
      property(string(), string(), (one, other) => {
        pre(!/[*?[]/.test(one));
        expect(compilePattern(one)(one)).toBe(true);
        expect(compilePattern(one)(other)).toBe(one === other);
      }),
    );
  });

  it('of many stars comes to an end', () => {
    expect(compilePattern(`${'*a'.repeat(60)}b`)('a'.repeat(4000))).toBe(false);
  });
});

describe('the pattern of a name', () => {
  it('fits that name, and none of those that it would fit if its marks were marks', () => {
    assert(
      property(string(), string(), (one, other) => {
        expect(compilePattern(patternOf(one))(one)).toBe(true);
        pre(!patternOf(one).replaceAll('[?]', '').includes('?'));
        expect(compilePattern(patternOf(one))(other)).toBe(one === other);
      }),
    );
    expect(compilePattern(patternOf('a[1]*.txt'))('a1x.txt')).toBe(false);
  });

  it.each(['a\nb', "it's", '\u001b[31m', '\ud800x', '\u202egpj'])('can be typed: %j', (name) => {
    expect(patternOf(name)).toMatch(/^[^'\p{Cc}\p{Cs}\u202e]+$/u);
    expect(compilePattern(patternOf(name))(name)).toBe(true);
  });
});
