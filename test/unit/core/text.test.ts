import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBytes, plural, printable } from '../../../src/core/text.ts';

describe('printable', () => {
  // oxlint-disable-next-line no-control-regex
  const steering = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

  it.each([
    [
      'copying https://me:secret@r.zone/a to me:secret@r.zone:5000/b',
      'copying https://me:***@r.zone/a to me:***@r.zone:5000/b',
    ],
    [`r.zone/a:tag@sha256:${'0'.repeat(64)}`, `r.zone/a:tag@sha256:${'0'.repeat(64)}`],
    ['no login at me:p@ss@r.zone/a', 'no login at me:***@r.zone/a'],
    ['{"to":"a@b.zone","user":"me"}', '{"to":"a@b.zone","user":"me"}'],
    ['org/model@main: not there, ask me@zone', 'org/model@main: not there, ask me@zone'],
  ])('hides passwords and nothing else: %s', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it('takes no longer for a long word', () => {
    const word = 'a'.repeat(1_000_000);
    expect(printable(word)).toBe(word);
  });

  it('passes nothing that could steer a terminal, whatever the text', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0x20ff }), { maxLength: 400 }), (codes) => {
        expect(printable(String.fromCharCode(...codes))).not.toMatch(steering);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it.each([
    ['\u001b[31mred', '\\u001b[31mred'],
    ['\u009b2J', '\\u009b2J'],
    ['a\r\nb', 'a\\u000d\\u000ab'],
    ['exe.\u202egnp', 'exe.\\u202egnp'],
    ['\u061c', '\\u061c'],
    ['a\u2028b', 'a\\u2028b'],
  ])('writes %j as %j', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it('leaves letters of any script alone', () => {
    expect(printable('größe + 量 😀')).toBe('größe + 量 😀');
  });
});

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '0.98 KiB'],
  [1024, '1.00 KiB'],
  [1536, '1.50 KiB'],
  [4 * 1024 ** 3 - 1, '4.00 GiB'],
  [200 * 1024 ** 2, '200 MiB'],
  [5000 * 1024 ** 4, '5000 TiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

it('counts nouns', () => {
  expect([plural(0, 'file'), plural(1, 'file'), plural(2, 'file')]).toEqual(['0 files', '1 file', '2 files']);
});
