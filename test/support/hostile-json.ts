import * as fc from 'fast-check';

/** Values that somebody might put into a document of ours to get out of a directory, or out of memory. */
const hostileText = fc.constantFrom(
  '',
  '.',
  '..',
  '../../x',
  '/etc/passwd',
  'a//b',
  'a/../b',
  'hub\\..\\x',
  '__proto__',
  'constructor',
  'HUB/x',
  'a\0b',
  'a\u001b[2J',
  '\ud800',
  'ﬁ',
  'x'.repeat(5000),
  'CON',
  'b.0001.tar',
  'hub/models--org--name/blobs/w',
  'sha256:',
  'a'.repeat(40),
);
const hostileNumber = fc.constantFrom(-1, -0, 0.5, 1e308, 2 ** 53, 2 ** 53 - 1, 0, 1, 2, 511, 512, 5119, 5120);
const hostile = fc.oneof(
  hostileText,
  hostileNumber,
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom(null, [], {}, [[]], `sha256:${'0'.repeat(64)}`, { toString: 1 }),
);

/** One change to a JSON document; `at` names one of its places by number. */
export interface JsonChange {
  at: number;
  what: 'set' | 'remove' | 'double' | 'add';
  value: unknown;
  key: string;
}
export const jsonChange: fc.Arbitrary<JsonChange> = fc.record({
  at: fc.nat(),
  what: fc.constantFrom('set', 'set', 'set', 'remove', 'double', 'add'),
  value: hostile,
  key: fc.constantFrom('__proto__', 'constructor', 'path', 'parts', 'x'),
});

type Holder = Record<string | number, unknown>;

/** Each place of a document, as what holds it and its key there. */
function placesIn(value: unknown): { holder: Holder; key: string | number }[] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Holder;
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return keys.flatMap((key) => [{ holder, key }, ...placesIn(holder[key])]);
}

/** A copy of a document with these changes. */
export function changed(original: unknown, changes: readonly JsonChange[]): unknown {
  const document = structuredClone(original);
  for (const { at, what, value, key } of changes) {
    const places = placesIn(document);
    const place = places[at % places.length];
    if (!place) break;
    const { holder } = place;
    if (what === 'set') holder[place.key] = value;
    else if (what === 'add' && !Array.isArray(holder))
      Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
    else if (!Array.isArray(holder)) delete holder[place.key];
    else if (what === 'remove') holder.splice(Number(place.key), 1);
    else holder.push(structuredClone(holder[Number(place.key)]));
  }
  return document;
}
