import type { Inventory } from './inventory.ts';

const chunkBytes = 1024 * 1024;

export function formatInventory(inventory: Inventory): string {
  return Buffer.concat([...inventoryChunks(inventory)]).toString('utf8');
}

/** An inventory as a document, in pieces: of many files it is larger than all else that is kept of them. */
export function* inventoryChunks(inventory: Inventory): Generator<Buffer> {
  let pieces: string[] = [];
  let length = 0;
  for (const piece of jsonText(inventory, '\n')) {
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
  const isList = Array.isArray(value);
  let before = isList ? '[' : '{';
  for (const key in value) {
    const each: unknown = (value as Record<string, unknown>)[key];
    if (each === undefined) continue;
    yield isList ? `${before}${inner}` : `${before}${inner}${JSON.stringify(key)}: `;
    yield* jsonText(each, inner);
    before = ',';
  }
  yield `${newline}${isList ? ']' : '}'}`;
}

function isLong(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  return (Array.isArray(value) && value.length > 100) || Object.values(value).some(isLong);
}
