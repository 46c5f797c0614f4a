import type { Inventory } from './inventory.ts';
import { type LongList, PackedList } from '../lists/long-list.ts';

const chunkBytes = 1024 * 1024;

export function formatInventory(inventory: Inventory): string {
  return Buffer.concat([...inventoryChunks(inventory)]).toString('utf8');
}

/** An inventory as a document, in pieces: of many files it is larger than all else that is kept of them. */
export function inventoryChunks(inventory: Inventory): Generator<Buffer> {
  return documentChunks(inventory);
}

/** Plain data with long lists as `JSON.stringify(value, undefined, 1)` and a line feed, in pieces. */
export function documentChunks(value: object): Generator<Buffer> {
  return chunksOf(value, '\n');
}

/** Plain data with long lists as a line of JSON, in pieces. */
export function lineChunks(value: object): Generator<Buffer> {
  return chunksOf(value, '');
}

function* chunksOf(value: object, newline: string): Generator<Buffer> {
  let pieces: string[] = [];
  let length = 0;
  for (const piece of jsonText(value, newline)) {
    pieces.push(piece);
    length += piece.length;
    if (length < chunkBytes) continue;
    yield Buffer.from(pieces.join(''));
    pieces = [];
    length = 0;
  }
  yield Buffer.from(`${pieces.join('')}\n`);
}

/** What `JSON.stringify(value, undefined, 1)` gives; what is long, or has something long in it, in pieces. */
function* jsonText(value: unknown, newline: string): Generator<string> {
  if (!isLong(value)) {
    // No string has a line feed of its own here: JSON writes it as two characters.
    yield JSON.stringify(value, undefined, 1).replaceAll('\n', newline);
    return;
  }
  const inner = `${newline} `;
  const isList = isLongList(value);
  let before = isList ? '[' : '{';
  for (const [key, each] of isList ? unnamed(value) : Object.entries(value)) {
    if (each === undefined) continue;
    yield `${before}${inner}${isList ? '' : `${JSON.stringify(key)}: `}`;
    yield* jsonText(each, inner);
    before = ',';
  }
  yield before === ',' ? `${newline}${isList ? ']' : '}'}` : '[]';
}

function* unnamed(list: Iterable<unknown>): Generator<[string, unknown]> {
  for (const each of list) yield ['', each];
}

function isLong(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  return (
    value instanceof PackedList || (Array.isArray(value) && value.length > 100) || Object.values(value).some(isLong)
  );
}

function isLongList(value: object): value is LongList<unknown> {
  return value instanceof PackedList || Array.isArray(value);
}
