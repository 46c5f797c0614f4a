/**
 * The opcodes of all pickle protocols: which argument follows, and what happens to the stack.
 * https://github.com/python/cpython/blob/main/Lib/pickletools.py
 */

import { none as pythonNone, type PickleValue } from './array-wrapper.ts';

/** How an argument is written: so many bytes, a line, or a length of so many bytes and then as many as it says. */
export type OpcodeArgument =
  | { kind: 'fixed'; bytes: 0 | 1 | 2 | 4 | 8 }
  | { kind: 'lines'; count: 1 | 2 }
  | { kind: 'counted'; lengthBytes: 1 | 4 | 8; signed?: boolean };

/** What the argument or the stack becomes. `plain` takes `pops` values and leaves `pushes` of which nothing is known. */
export type OpcodeEffect =
  | { kind: 'plain'; pops: number; pushes: number }
  /** Takes everything down to the last mark. */
  | { kind: 'to-mark'; pushes: number }
  | { kind: 'text'; escapes: 'none' | 'string' | 'unicode' }
  | { kind: 'get' | 'put' }
  | { kind: 'integer' }
  | PartEffect
  | { kind: 'constant'; value: PickleValue }
  | {
      kind:
        | 'mark'
        | 'pop'
        | 'duplicate'
        | 'memoize'
        | 'global'
        | 'instance'
        | 'stack-global'
        | 'extension'
        | 'protocol'
        | 'frame'
        | 'stop';
    };

/** What makes values of which wrappers of arrays are made; out of so many values, or of all down to the last mark. */
export type PartEffect =
  | { kind: 'tuple'; of: 0 | 1 | 2 | 3 | 'marked' }
  | { kind: 'set-items'; of: 1 | 'marked' }
  | { kind: 'dict' }
  | { kind: 'call' }
  | { kind: 'new' }
  | { kind: 'build' };

export interface Opcode {
  argument: OpcodeArgument;
  effect: OpcodeEffect;
  /** What the effect comes to where no values are told apart but texts; undefined when it is more than that. */
  plain: { pops: number; pushes: number } | undefined;
}

const none: OpcodeArgument = { kind: 'fixed', bytes: 0 };
const fixed = (bytes: 1 | 2 | 4 | 8): OpcodeArgument => ({ kind: 'fixed', bytes });
const line: OpcodeArgument = { kind: 'lines', count: 1 };
const lines: OpcodeArgument = { kind: 'lines', count: 2 };
const counted = (lengthBytes: 1 | 4 | 8, signed = false): OpcodeArgument => ({ kind: 'counted', lengthBytes, signed });

const plain = (pops: number, pushes: number): Extract<OpcodeEffect, { kind: 'plain' }> => ({
  kind: 'plain',
  pops,
  pushes,
});
const toMark = (pushes: number): OpcodeEffect => ({ kind: 'to-mark', pushes });
const text = (escapes: 'none' | 'string' | 'unicode' = 'none'): OpcodeEffect => ({ kind: 'text', escapes });
const push = plain(0, 1);
const integer: OpcodeEffect = { kind: 'integer' };
const constant = (value: PickleValue): OpcodeEffect => ({ kind: 'constant', value });
const tuple = (of: 0 | 1 | 2 | 3 | 'marked'): OpcodeEffect => ({ kind: 'tuple', of });

const table: readonly (readonly [code: string, argument: OpcodeArgument, effect: OpcodeEffect])[] = [
  ['(', none, { kind: 'mark' }],
  ['.', none, { kind: 'stop' }],
  ['0', none, { kind: 'pop' }],
  ['1', none, toMark(0)],
  ['2', none, { kind: 'duplicate' }],
  ['F', line, push],
  ['I', line, push],
  ['J', fixed(4), integer],
  ['K', fixed(1), integer],
  ['L', line, push],
  ['M', fixed(2), integer],
  ['N', none, constant(pythonNone)],
  ['P', line, push],
  ['Q', none, plain(1, 1)],
  ['R', none, { kind: 'call' }],
  ['S', line, text('string')],
  ['T', counted(4, true), text()],
  ['U', counted(1), text()],
  ['V', line, text('unicode')],
  ['X', counted(4), text()],
  ['a', none, plain(1, 0)],
  ['b', none, { kind: 'build' }],
  ['c', lines, { kind: 'global' }],
  ['d', none, toMark(1)],
  ['}', none, { kind: 'dict' }],
  ['e', none, toMark(0)],
  ['g', line, { kind: 'get' }],
  ['h', fixed(1), { kind: 'get' }],
  ['i', lines, { kind: 'instance' }],
  ['j', fixed(4), { kind: 'get' }],
  ['l', none, toMark(1)],
  [']', none, push],
  ['o', none, toMark(1)],
  ['p', line, { kind: 'put' }],
  ['q', fixed(1), { kind: 'put' }],
  ['r', fixed(4), { kind: 'put' }],
  ['s', none, { kind: 'set-items', of: 1 }],
  ['t', none, tuple('marked')],
  [')', none, tuple(0)],
  ['u', none, { kind: 'set-items', of: 'marked' }],
  ['G', fixed(8), push],
  ['B', counted(4), push],
  ['C', counted(1), push],
  ['\u0080', fixed(1), { kind: 'protocol' }],
  ['\u0081', none, { kind: 'new' }],
  ['\u0082', fixed(1), { kind: 'extension' }],
  ['\u0083', fixed(2), { kind: 'extension' }],
  ['\u0084', fixed(4), { kind: 'extension' }],
  ['\u0085', none, tuple(1)],
  ['\u0086', none, tuple(2)],
  ['\u0087', none, tuple(3)],
  ['\u0088', none, constant(true)],
  ['\u0089', none, constant(false)],
  ['\u008a', counted(1), push],
  ['\u008b', counted(4, true), push],
  ['\u008c', counted(1), text()],
  ['\u008d', counted(8), text()],
  ['\u008e', counted(8), push],
  ['\u008f', none, push],
  ['\u0090', none, toMark(0)],
  ['\u0091', none, toMark(1)],
  ['\u0092', none, plain(3, 1)],
  ['\u0093', none, { kind: 'stack-global' }],
  ['\u0094', none, { kind: 'memoize' }],
  // A frame announces that so many bytes follow; they are opcodes like any other.
  ['\u0095', fixed(8), { kind: 'frame' }],
  ['\u0096', counted(8), push],
  ['\u0097', none, push],
  ['\u0098', none, plain(1, 1)],
];

function plainOf(effect: OpcodeEffect): Opcode['plain'] {
  if (effect.kind === 'plain') return effect;
  if (effect.kind === 'integer' || effect.kind === 'constant' || effect.kind === 'dict') return push;
  if (effect.kind === 'call' || effect.kind === 'new') return { pops: 2, pushes: 1 };
  if (effect.kind === 'build') return { pops: 1, pushes: 0 };
  if (effect.kind === 'tuple' && effect.of !== 'marked') return { pops: effect.of, pushes: 1 };
  return effect.kind === 'set-items' && effect.of === 1 ? { pops: 2, pushes: 0 } : undefined;
}

/** By the opcode's byte; undefined where there is no such opcode. */
export const opcodes: readonly (Opcode | undefined)[] = Array.from({ length: 256 }, (_, byte) => {
  const row = table.find(([code]) => code.charCodeAt(0) === byte);
  return row && { argument: row[1], effect: row[2], plain: plainOf(row[2]) };
});
