import { ByteCursor, windowsOf } from './byte-cursor.ts';
import { type Opcode, type OpcodeArgument, opcodes } from './pickle-opcodes.ts';
import { ArrayValues } from './array-values.ts';
import { type ArrayPlace, importedPart, isOddWrapper, type PickleValue } from './array-wrapper.ts';
import { PickleStack } from './pickle-stack.ts';
import { unescapeString, unescapeUnicode } from './pickle-text.ts';

/** Something that a pickle asks Python for by name; null where the name cannot be told without executing it. */
export interface PickleImport {
  module: string | null;
  name: string | null;
}

/** What one walk over a pickle found. */
export interface PickleWalk {
  /** What the pickle says of itself; 0 when it says nothing. */
  protocol: number;
  /** Each once, in the order of their first use. */
  imports: PickleImport[];
  /** `stop`: read to its end. Else why not: the imports that stand before that place are known all the same. */
  end: 'stop' | 'truncated' | 'malformed' | 'limit';
  /** It asks for what it never put on its stack or memo, so that no unpickler would read it to its end. */
  isBroken: boolean;
  /** It holds more than is kept of it, or its frames end where no writer ends them. */
  isHiding: boolean;
}

/** How much may still be walked over in one file; all its pickles share it. */
export interface PickleBudget {
  opcodes: number;
  imports: number;
}

export function pickleBudget(): PickleBudget {
  return { opcodes: 25_000_000, imports: 10_000 };
}

/** Of the numbers of an array. */
const tastedBytes = 4096;

/** Names are short; a longer text is none. */
const longestText = 1024;
const newestProtocol = 5;

/** Stands for the names that one reader sees and another one does not. */
const hidden = 'frame';

/**
 * Walks over the opcodes of one pickle, from the cursor on to behind its STOP, and executes nothing. Large values are
 * passed over unread.
 * https://github.com/python/cpython/blob/main/Lib/pickletools.py
 */
export async function walkPickle(cursor: ByteCursor, budget: PickleBudget): Promise<PickleWalk> {
  return new Walk(cursor, budget).run();
}

class Walk {
  readonly #cursor: ByteCursor;
  readonly #budget: PickleBudget;
  readonly #stack = new PickleStack();
  readonly #arrays = new ArrayValues(this.#stack);
  readonly #imports = new Map<string, PickleImport>();
  #protocol = 0;
  /** Where the latest frame says that it ends. */
  #frameEnd = 0;
  /** Where joblib reads an array behind the present opcode. */
  #array: ArrayPlace | 'unclear' | undefined;

  constructor(cursor: ByteCursor, budget: PickleBudget) {
    this.#cursor = cursor;
    this.#budget = budget;
  }

  async run(): Promise<PickleWalk> {
    const end = await this.#walk();
    if (this.#stack.isAstray) this.#hide();
    const { isBroken, isOverfull } = this.#stack;
    const isHiding = isOverfull || this.#imports.has(hidden);
    return { protocol: this.#protocol, imports: [...this.#imports.values()], end, isBroken, isHiding };
  }

  async #walk(): Promise<PickleWalk['end']> {
    for (;;) {
      // Opcodes whose arguments are at hand never wait: there may be millions of them.
      if (this.#cursor.ahead < 16 && !(await this.#cursor.fill(16)) && this.#cursor.ahead === 0) return 'truncated';
      if (this.#budget.opcodes <= 0 || this.#budget.imports <= 0) return 'limit';
      this.#budget.opcodes -= 1;
      const opcode = opcodes[this.#cursor.byte()];
      if (opcode === undefined) return 'malformed';
      if (opcode.effect.kind === 'stop') return 'stop';
      const from = this.#cursor.position;
      const end = opcode.argument.kind === 'fixed' ? this.#doFixed(opcode) : await this.#doLong(opcode);
      if (end !== undefined) return end;
      if (from < this.#frameEnd && this.#cursor.position > this.#frameEnd) this.#hide();
      if (this.#array !== undefined) {
        const endOfArray = await this.#passArray(this.#array);
        this.#array = undefined;
        if (endOfArray !== undefined) return endOfArray;
      }
    }
  }

  /**
   * Goes on behind the numbers of an array, where joblib does. Other readers take them for opcodes: unless the first of
   * those that count ends them, they read something else than joblib.
   */
  async #passArray(array: ArrayPlace | 'unclear'): Promise<PickleWalk['end'] | undefined> {
    // joblib goes by the file, and not by what is left of a frame.
    if (array === 'unclear' || this.#cursor.position < this.#frameEnd) {
      this.#hide();
      return undefined;
    }
    if (array.isPadded) {
      if (!(await this.#cursor.fill(1))) return 'truncated';
      const padding = this.#cursor.peek(1)[0] ?? 0;
      if (opcodes[padding] !== undefined) {
        this.#hide();
        return undefined;
      }
      this.#cursor.skip(1 + padding);
    } else if (array.bytes > 0 && !(await this.#endsOthers(array.bytes))) {
      this.#hide();
      return undefined;
    }
    this.#cursor.skip(array.bytes);
    return (await this.#cursor.fill(1)) ? undefined : 'truncated';
  }

  /** Whether who takes these bytes for opcodes stops among the first of them, and has not asked for anything that there could be. */
  async #endsOthers(bytes: number): Promise<boolean> {
    await this.#cursor.fill(Math.min(bytes, tastedBytes));
    const data = this.#cursor.peek(Math.min(bytes, tastedBytes));
    const read = (offset: number, length: number): Promise<Buffer> =>
      Promise.resolve(data.subarray(offset, offset + length));
    const budget = { opcodes: tastedBytes, imports: tastedBytes };
    const { end, imports } = await walkPickle(new ByteCursor(windowsOf({ size: data.length, read })), budget);
    return end === 'malformed' && imports.every(({ module, name }) => isNoName(module) || isNoName(name));
  }

  /**
   * No writer lets an argument go over the end of a frame: Python's reader in C drops what stands before that end, its other
   * one stops, and who has the whole pickle in memory reads on. So what is asked for cannot be told.
   */
  #hide(): void {
    this.#imports.set(hidden, { module: null, name: null });
  }

  #doFixed({ argument, effect, plain }: Opcode): PickleWalk['end'] | undefined {
    const bytes = argument.kind === 'fixed' ? argument.bytes : 0;
    if (this.#cursor.ahead < bytes) return 'truncated';
    if (effect.kind === 'frame') {
      this.#beginFrame();
      return undefined;
    }
    if (plain !== undefined && (effect.kind === 'plain' || !this.#stack.hasParts)) {
      this.#cursor.skip(bytes);
      for (let count = plain.pops; count > 0; count -= 1) this.#stack.pop();
      for (let count = plain.pushes; count > 0; count -= 1) this.#stack.push(null);
      return undefined;
    }
    return this.#apply(effect, bytes === 0 || bytes === 8 ? 0 : this.#cursor.unsigned(bytes));
  }

  #beginFrame(): void {
    const from = this.#cursor.position;
    const end = Number(this.#cursor.unsigned64()) + this.#cursor.position;
    if (from < this.#frameEnd && end > this.#frameEnd) this.#hide();
    this.#frameEnd = end;
  }

  #apply(effect: Opcode['effect'], value: number): PickleWalk['end'] | undefined {
    const stack = this.#stack;
    switch (effect.kind) {
      case 'to-mark':
        stack.popToMark();
        if (effect.pushes > 0) stack.push(null);
        break;
      case 'mark':
        stack.mark();
        break;
      case 'pop':
        stack.popTop();
        break;
      case 'duplicate':
        stack.duplicate();
        break;
      case 'memoize':
        stack.memoize();
        break;
      case 'get':
        stack.get(value);
        break;
      case 'put':
        stack.put(value);
        break;
      case 'stack-global': {
        const name = textOf(stack.pop());
        this.#import(textOf(stack.pop()), name);
        break;
      }
      case 'extension':
        // What a number stands for is known to the Python that reads it, and to nobody else.
        this.#import(null, null);
        break;
      case 'protocol':
        this.#protocol = value;
        // A Python of today stops here; one of tomorrow may go on.
        if (value > newestProtocol) stack.isBroken = true;
        break;
      case 'integer':
        // The one of four bytes has a sign.
        stack.push(value > 0x7fff_ffff ? value - 2 ** 32 : value);
        break;
      case 'constant':
        stack.push(effect.value);
        break;
      case 'tuple':
      case 'dict':
      case 'set-items':
      case 'call':
      case 'new':
      case 'build':
        this.#array = this.#arrays.apply(effect);
        break;
      // These are done with their arguments.
      case 'plain':
      case 'text':
      case 'global':
      case 'instance':
      case 'frame':
      case 'stop':
        break;
    }
    return undefined;
  }

  async #doLong({ argument, effect }: Opcode): Promise<PickleWalk['end'] | undefined> {
    return argument.kind === 'lines' ? this.#doLines(argument.count, effect) : this.#doCounted(argument, effect);
  }

  async #doLines(count: 1 | 2, effect: Opcode['effect']): Promise<PickleWalk['end'] | undefined> {
    const isRaw = effect.kind === 'text' && effect.escapes === 'unicode';
    const first = await this.#cursor.line(longestText, isRaw ? 'latin1' : 'utf8');
    if (first === undefined) return 'truncated';
    if (count === 2) {
      const second = await this.#cursor.line(longestText);
      if (second === undefined) return 'truncated';
      if (effect.kind === 'instance') this.#stack.popToMark();
      this.#import(first, second);
      return undefined;
    }
    if (effect.kind === 'get' || effect.kind === 'put') {
      // As Python reads a number: `1_000` is one, `0x10` and an empty line are none.
      if (first === null || !/^\s*\+?\d+(?:_\d+)*\s*$/.test(first)) return 'malformed';
      return this.#apply(effect, Number(first.replaceAll('_', '')));
    }
    if (effect.kind !== 'text' || first === null) this.#stack.push(null);
    else this.#stack.push(effect.escapes === 'string' ? unescapeString(first) : unescapeUnicode(first));
    return undefined;
  }

  async #doCounted(argument: OpcodeArgument, effect: Opcode['effect']): Promise<PickleWalk['end'] | undefined> {
    if (argument.kind !== 'counted') return undefined;
    if (this.#cursor.ahead < argument.lengthBytes) return 'truncated';
    const length =
      argument.lengthBytes === 8 ? Number(this.#cursor.unsigned64()) : this.#cursor.unsigned(argument.lengthBytes);
    if (argument.signed === true && length >= 2 ** 31) return 'malformed';
    if (!Number.isSafeInteger(length)) return 'truncated';
    if (effect.kind === 'text' && length <= longestText) {
      if (!(await this.#cursor.fill(length))) return 'truncated';
      this.#stack.push(this.#cursor.text(length));
      return undefined;
    }
    this.#cursor.skip(length);
    this.#stack.push(null);
    // What was skipped has to be there: its last byte is not looked at, but the next one must come.
    return (await this.#cursor.fill(1)) ? undefined : 'truncated';
  }

  #import(module: string | null, name: string | null): void {
    const key = JSON.stringify([module, name]);
    if (!this.#imports.has(key)) {
      this.#imports.set(key, { module, name });
      this.#budget.imports -= 1;
    }
    if (isOddWrapper(module, name)) this.#stack.isAstray = true;
    const part = importedPart(module, name);
    // A type of elements may be told before the first wrapper.
    if (part !== null) this.#stack.hasParts = true;
    this.#stack.push(part);
  }
}

function textOf(value: PickleValue): string | null {
  return typeof value === 'string' ? value : null;
}

/** Nothing in Python is called so. */
function isNoName(text: string | null): boolean {
  // eslint-disable-next-line no-control-regex
  return text !== null && /[\u0000-\u001f\u007f-\u009f\ufffd]/.test(text);
}
