import { randomUUID } from 'node:crypto';
import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { PackedList } from '../lists/long-list.ts';

/** Lists that may be long, by the keys that lead to them; one in a list has no key. */
const longLists = ['blobs', 'links', 'base/held', 'items//files', 'models//objects'];
const mostKeys = 3;

/**
 * What `JSON.parse` would make of an inventory or a receipt, but that its long lists are packed while they are read: neither its text
 * nor all its objects are ever there at once.
 * @param item for messages
 * @throws E_CORRUPT when it is not JSON
 */
export function parseLongLists(chunks: Iterable<Uint8Array>, item: string): unknown {
  const scanner = new Scanner(item);
  for (const chunk of chunks) scanner.add(chunk);
  return scanner.end();
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openList = 0x5b;
const closeList = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;

/** Finds where elements of long lists begin and end; what they and all around them are is for `JSON.parse` to say. */
class Scanner {
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

  constructor(item: string) {
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
      }
    }
    // Whoever gave the chunk may use it again.
    (this.#list ? this.#element : this.#around).push(chunk.slice(from));
  }

  end(): unknown {
    if (this.#list) throw this.#notJson();
    const whole = this.#json(this.#around);
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
    return longLists.includes(this.#keys.slice(1, this.#depth).join('/'));
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
    return this.#json([...this.#element.splice(0), end]);
  }

  #json(pieces: readonly Uint8Array[]): unknown {
    try {
      return JSON.parse(textOf(pieces)) as unknown;
    } catch {
      // The engine's own error quotes the text.
      throw this.#notJson();
    }
  }

  #notJson(): MirrorError {
    return new MirrorError('E_CORRUPT', `\`${printable(this.#item)}\` is not valid JSON`);
  }
}

function elementsOf(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function textOf(pieces: readonly Uint8Array[]): string {
  return Buffer.concat(pieces).toString('utf8');
}

function isBlank(pieces: readonly Uint8Array[]): boolean {
  return /^[ \t\r\n]*$/.test(textOf(pieces));
}
