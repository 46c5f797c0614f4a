import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLongLists, parseStrictJson } from '../../../src/bundle/records/inventory-parse.ts';
import { PackedList } from '../../../src/bundle/lists/long-list.ts';
import { codeOfCall } from '../../support/failures.ts';

/** The same as arrays, as `JSON.parse` makes them. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, each: unknown) => (each instanceof PackedList ? [...each] : each)));
}

function pieces(bytes: Buffer, length: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / length) }, (_, index) =>
    bytes.subarray(index * length, (index + 1) * length),
  );
}

/** Our verdict on a text that comes in pieces, and that of `JSON.parse`. */
function bothSay(text: string, length: number): [unknown, unknown] {
  const bytes = Buffer.from(text);
  const say = (parse: () => unknown): unknown => {
    try {
      return { value: plain(parse()) };
    } catch {
      return 'refused';
    }
  };
  return [say(() => parseLongLists(pieces(bytes, length), 'x')), say(() => JSON.parse(bytes.toString()))];
}

const lists = {
  schema: 's',
  base: { held: [{ digest: 'd' }, { digest: 'e' }], name: 'n' },
  items: [
    { kind: 'model', files: [{ path: 'a"]},[\\' }, { path: '\u00e4\u{1f600}' }], refs: ['files'] },
    { kind: 'model', files: [] },
    { kind: 'image', digests: ['blobs', 'x'] },
  ],
  blobs: [{ path: 'blobs', parts: [{ volume: 1 }, { volume: 2 }] }, 'links', 7, null, [['files'], []]],
  links: [],
  volumes: [{ name: 'v' }],
};

describe('lists of an inventory', () => {
  it('are packed where they may be long', () => {
    const found = parseLongLists([Buffer.from(JSON.stringify(lists))], 'x') as typeof lists;

    expect(
      [found.blobs, found.links, found.base.held, found.items[0]?.files].map((list) => list instanceof PackedList),
    ).toEqual([true, true, true, true]);
    expect([found.volumes, found.items].map((list) => Array.isArray(list))).toEqual([true, true]);
  });

  it.each([undefined, 1, '\t\r\n'])(
    'are what JSON.parse makes of them, wherever a piece ends, with white space %j',
    (space) => {
      const text = JSON.stringify(lists, undefined, space);
      for (let length = 1; length <= Buffer.byteLength(text); length += 1) {
        const [ours, theirs] = bothSay(text, length);
        expect(ours).toEqual(theirs);
      }
    },
  );

  it.each([
    '{"blobs":[1,]}',
    '{"blobs":[,1]}',
    '{"blobs":[1 2]}',
    '{"blobs":[1}',
    '{"blobs":[1',
    '{"blobs":[1]',
    '{"blobs":[1]]}',
    '{"blobs":[{]}]}',
    '{"blobs":["]}',
    '{"blobs":[ ]}',
    '{"blobs":[,]}',
    '{"blobs"[1]}',
    '{"blobs":1,"links":[2]}',
    '{"base":[1],"items":{"files":[1]}}',
    '{"base":{"held":{"held":[1]}}}',
    '{"__proto__":{"blobs":[1]},"blobs":[2]}',
    '["blobs",[1]]',
    '{"bl\\u006fbs":[1]}',
    '\ufeff{"blobs":[1]}',
    '',
    'null',
  ])('%j is taken or refused as JSON.parse does', (text) => {
    for (const length of [1, 3, 100]) {
      const [ours, theirs] = bothSay(text, length);
      expect(ours).toEqual(theirs);
    }
  });

  it('of any text with a character in another place are those of JSON.parse', () => {
    const text = JSON.stringify(lists, undefined, 1);
    const taken = { yes: 0, no: 0 };
    fc.assert(
      fc.property(
        fc.nat(text.length - 1),
        fc.nat(text.length - 1),
        fc.integer({ min: 1, max: 50 }),
        (from, to, length) => {
          const without = text.slice(0, from) + text.slice(from + 1);
          const [ours, theirs] = bothSay(without.slice(0, to) + text.charAt(from) + without.slice(to), length);
          expect(ours).toEqual(theirs);
          taken[ours === 'refused' ? 'no' : 'yes'] += 1;
        },
      ),
      { seed: 6, numRuns: 500 },
    );
    // Both must come up, or the test says nothing.
    expect([taken.yes > 50, taken.no > 50]).toEqual([true, true]);
  });

  it('are refused as damage when they are not JSON', () => {
    expect(codeOfCall(() => parseLongLists([Buffer.from('{"blobs":[1,]}')], 'x'))).toBe('E_CORRUPT');
  });

  const text = JSON.stringify(lists);
  const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;

  it.each<[string, string | Buffer]>([
    ['a key twice at the top', text.replace('"schema"', '"schema":"t","schema"')],
    ['a long list twice', text.replace('"blobs"', '"blobs":[],"blobs"')],
    ['a long list, and something else by its name', text.replace('"blobs"', '"blobs":0,"blobs"')],
    ['a key twice in a list within a list', text.replace('"path":"a', '"path":"b","path":"a')],
    ['a key twice where nobody looks', text.replace('"schema"', '"unknown":[[{"a":1,"a":1}]],"schema"')],
    ['a key twice, once by an escape', text.replace('{"volume":2}', '{"volume":2,"volum\\u0065":3}')],
    ['the key of a prototype twice', text.replace('{"volume":2}', '{"__proto__":2,"__proto__":3}')],
    ['bytes that are no UTF-8 in a list', Buffer.from(text.replace('"digest":"d"', '"digest":"\u00ff"'), 'latin1')],
    ['bytes that are no UTF-8 around the lists', Buffer.from(text.replace('"s"', '"\u00ff"'), 'latin1')],
    ['half a pair as UTF-8', Buffer.from(text.replace('"s"', '"\u00ed\u00a0\u0080"'), 'latin1')],
    ['more levels than any reader takes', text.replace('"volume":1', `"volume":${deep(61)}`)],
  ])('are refused for %s, which others would read otherwise, wherever a piece ends', (_, wrong) => {
    const bytes = Buffer.from(wrong);
    for (const length of [1, 7, 1000])
      expect(codeOfCall(() => parseLongLists(pieces(bytes, length), 'x'))).toBe('E_CORRUPT');
    expect(codeOfCall(() => parseStrictJson(bytes, 'x'))).toBe('E_CORRUPT');
  });

  it('may nest as deep as readers take, and have one key in many objects', () => {
    const long = Array.from({ length: 3000 }, () => `{"path":${deep(61)}}`).join();
    expect(parseLongLists([Buffer.from(`{"blobs":[${long}]}`)], 'x')).toHaveProperty('blobs.length', 3000);
  });
});
