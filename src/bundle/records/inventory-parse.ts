import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { PackedList } from '../lists/long-list.ts';

/** Lists that may be long, by the keys that lead to them; one in a list has no key. */
const longLists = ['blobs', 'links', 'base/held', 'items//files', 'models//objects'];
const mostKeys = 3;
/** Far more than any document of ours has, and fewer than any reader takes. */
const mostDepth = 64;

/**
 * What `JSON.parse` would make of an inventory or a receipt, but that its long lists are packed while they are read: neither its text
 * nor all its objects are ever there at once. What readers make different things of is refused, as of what is signed all have to read the same:
 * https://www.rfc-editor.org/rfc/rfc7493#section-2
 * @param item for messages
 * @throws E_CORRUPT when it is not JSON in UTF-8, has a key twice in an object, or is nested more than 64 deep
 */
export function parseLongLists(chunks: Iterable<Uint8Array>, item: string): unknown {
  return scan(chunks, longLists, item);
}

/** The same with all its lists as they are. @throws E_CORRUPT */
export function parseStrictJson(bytes: Uint8Array, item: string): unknown {
  return scan([bytes], [], item);
}

function scan(chunks: Iterable<Uint8Array>, lists: readonly string[], item: string): unknown {
  const scanner = new Scanner(lists, item);
  for (const chunk of chunks) scanner.add(chunk);
  return scanner.end();
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openList = 0x5b;
const closeList = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;

/** Finds where elements of long lists begin and end; what they and all around them are is for `JSON.parse` to say. */
class Scanner {
  readonly #long: readonly string[];
  readonly #item: string;
  /** Stands for a list in what is around the lists; nobody can have written it. */
  readonly #mark = randomUUID();
  readonly #lists = new Map<unknown, PackedList<unknown>>();
  #list: PackedList<unknown> | undefined;
  /** Of what is around the lists, and of the element that is being read, as far as they stood in earlier chunks. */
  readonly #around: Uint8Array[] = [];
  readonly #element: Uint8Array[] = [];
  /** Around the elements of the list. */
  #listDepth = 0;
  #depth = 0;
  #isString = false;
  #isEscaped = false;
  /** Around the lists: the string that stands before what comes, as far as it could name one, and those before brackets that are open. */
  #key = '';
  readonly #keys: string[] = [];

  /** Colons outside of strings, in what is around the lists and in the element that is being read: each stands after a key. */
  #keysAround = 0;
  #keysInElement = 0;

  constructor(long: readonly string[], item: string) {
    this.#long = long;
    this.#item = item;
  }

  add(chunk: Uint8Array): void {
    let from = 0;
    for (let index = 0; index < chunk.length; index += 1) {
      const byte = chunk[index] ?? 0;
      if (this.#isString) this.#inString(byte);
      else if (byte === quote) {
        this.#isString = true;
        if (!this.#list) this.#key = '';
      } else if (byte === openList || byte === openObject) {
        this.#depth += 1;
        if (this.#depth > mostDepth) throw this.#wrong(`is nested more than ${mostDepth} deep`);
        if (this.#list || !this.#isLong() || byte !== openList) continue;
        this.#begin(chunk.slice(from, index));
        from = index + 1;
      } else if (byte === closeList || byte === closeObject) {
        this.#depth -= 1;
        this.#key = '';
        if (!this.#list || this.#depth >= this.#listDepth) continue;
        this.#finish(chunk.subarray(from, index), byte);
        from = index + 1;
      } else if (byte === comma) {
        this.#key = '';
        if (!this.#list || this.#depth !== this.#listDepth) continue;
        this.#list.push(this.#parsed(chunk.subarray(from, index)));
        from = index + 1;
      } else if (byte === colon) {
        if (this.#list) this.#keysInElement += 1;
        else this.#keysAround += 1;
      }
    }
    // Whoever gave the chunk may use it again.
    (this.#list ? this.#element : this.#around).push(chunk.slice(from));
  }

  end(): unknown {
    if (this.#list) throw this.#notJson();
    const whole = this.#json(this.#around, this.#keysAround);
    if (!isObject(whole)) return whole;
    const { base, items, models } = whole;
    for (const each of [whole, base, ...elementsOf(items), ...elementsOf(models)])
      if (isObject(each))
        for (const [key, value] of Object.entries(each)) {
          const list = this.#lists.get(value);
          if (list) each[key] = list;
        }
    return whole;
  }

  #inString(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === backslash) this.#isEscaped = true;
    else if (byte === quote) this.#isString = false;
    if (this.#isString && !this.#list && this.#key.length < 8) this.#key += String.fromCharCode(byte);
  }

  /** Whether the bracket that has just been opened is that of a long list, if of a list at all. */
  #isLong(): boolean {
    if (this.#depth > mostKeys + 1) return false;
    this.#keys[this.#depth - 1] = this.#key;
    this.#key = '';
    return this.#long.includes(this.#keys.slice(1, this.#depth).join('/'));
  }

  #begin(before: Uint8Array): void {
    const mark = `${this.#mark} ${this.#lists.size}`;
    this.#around.push(before, Buffer.from(`"${mark}"`));
    this.#list = new PackedList();
    this.#listDepth = this.#depth;
    this.#lists.set(mark, this.#list);
  }

  #finish(element: Uint8Array, bracket: number): void {
    if (bracket !== closeList) throw this.#notJson();
    const isEmpty = this.#list?.length === 0 && isBlank([...this.#element, element]);
    if (!isEmpty) this.#list?.push(this.#parsed(element));
    this.#element.length = 0;
    this.#list = undefined;
  }

  #parsed(end: Uint8Array): unknown {
    const keys = this.#keysInElement;
    this.#keysInElement = 0;
    return this.#json([...this.#element.splice(0), end], keys);
  }

  #json(pieces: readonly Uint8Array[], keys: number): unknown {
    const text = Buffer.concat(pieces);
    if (!isUtf8(text)) throw this.#wrong('has bytes that are not UTF-8');
    let value: unknown;
    try {
      value = JSON.parse(text.toString('utf8'));
    } catch {
      // The engine's own error quotes the text.
      throw this.#notJson();
    }
    if (keysIn(value) !== keys) throw this.#wrong('has a key twice in one object');
    return value;
  }

  #notJson(): MirrorError {
    return this.#wrong('is not valid JSON');
  }

  #wrong(text: string): MirrorError {
    return new MirrorError('E_CORRUPT', `\`${printable(this.#item)}\` ${text}`);
  }
}

/** Of all objects in it: of a key that stood there twice `JSON.parse` keeps one. */
function keysIn(value: unknown): number {
  if (!isObject(value)) return 0;
  const values = Object.values(value);
  return values.reduce<number>((sum, each) => sum + keysIn(each), Array.isArray(value) ? 0 : values.length);
}

function elementsOf(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isBlank(pieces: readonly Uint8Array[]): boolean {
  return /^[ \t\r\n]*$/.test(Buffer.concat(pieces).toString('latin1'));
}
