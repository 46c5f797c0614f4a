/** A text that is not JSON, or not the JSON that was wanted; `message` says what and where. */
export class JsonFault extends Error {
  override readonly name = 'JsonFault';
}

const maxDepth = 64;

/**
 * Reads JSON bytes in place, piece by piece, so that a large document needs no memory beside its bytes, and two keys of
 * one object with the same name are seen, which `JSON.parse` hides.
 * https://www.rfc-editor.org/rfc/rfc8259
 */
export class JsonCursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Reads an object; `value` has to take the value of each key. */
  object(value: (key: string) => void): void {
    const keys = new Set<string>();
    this.#list('{', '}', () => {
      const key = this.string();
      if (keys.has(key)) throw new JsonFault(`has the key \`${key}\` twice`);
      keys.add(key);
      this.#expect(':');
      value(key);
    });
  }

  array(value: () => void): void {
    this.#list('[', ']', value);
  }

  string(): string {
    this.#space();
    const start = this.#at;
    if (this.#bytes[start] !== 0x22) throw this.#fault('a string');
    let at = start + 1;
    for (; this.#bytes[at] !== 0x22; at += this.#bytes[at] === 0x5c ? 2 : 1)
      if (at >= this.#bytes.length) throw this.#fault('the end of a string');
    this.#at = at + 1;
    const text = this.#bytes.toString('utf8', start, this.#at);
    try {
      return JSON.parse(text) as string;
    } catch {
      throw this.#fault('a string');
    }
  }

  /** A whole number that is not negative and that JavaScript can hold exactly. */
  natural(): number {
    const token = this.#token();
    const value = Number(token);
    if (!/^(?:0|[1-9]\d*)$/.test(token) || !Number.isSafeInteger(value)) throw this.#fault('a whole number');
    return value;
  }

  /** Passes over a value of any kind. */
  skip(depth = 0): void {
    if (depth > maxDepth) throw new JsonFault('is nested too deep');
    this.#space();
    const first = this.#bytes[this.#at];
    if (first === 0x7b) this.object(() => this.skip(depth + 1));
    else if (first === 0x5b) this.array(() => this.skip(depth + 1));
    else if (first === 0x22) this.string();
    else if (!/^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/.test(this.#token()))
      throw this.#fault('a value');
  }

  /** Nothing but space may follow. */
  end(): void {
    this.#space();
    if (this.#at < this.#bytes.length) throw this.#fault('the end');
  }

  #list(open: string, close: string, item: () => void): void {
    this.#expect(open);
    if (this.#next(close)) return;
    do item();
    while (this.#next(','));
    this.#expect(close);
  }

  #token(): string {
    this.#space();
    const start = this.#at;
    while (/[\w.+-]/.test(String.fromCharCode(this.#bytes[this.#at] ?? 0)) && this.#at - start < 64) this.#at += 1;
    return this.#bytes.toString('latin1', start, this.#at);
  }

  #next(char: string): boolean {
    this.#space();
    if (this.#bytes[this.#at] !== char.charCodeAt(0)) return false;
    this.#at += 1;
    return true;
  }

  #expect(char: string): void {
    if (!this.#next(char)) throw this.#fault(`\`${char}\``);
  }

  #space(): void {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at += 1;
    }
  }

  #fault(wanted: string): JsonFault {
    return new JsonFault(`is not the JSON that was wanted: ${wanted} was wanted at byte ${this.#at}`);
  }
}
