import {
  addSettings,
  type ArrayPlace,
  elementType,
  isPart,
  placeOf,
  type PickleValue,
  setState,
  tupleOf,
} from './array-wrapper.ts';
import type { PartEffect } from './pickle-opcodes.ts';
import type { PickleStack } from './pickle-stack.ts';

/** More values than this are not told apart in one pickle. */
const maxParts = 200_000;

/** What opcodes make of values on the stack, as far as wrappers of arrays are concerned; without any, of nothing is known. */
export class ArrayValues {
  readonly #stack: PickleStack;
  #parts = 0;

  constructor(stack: PickleStack) {
    this.#stack = stack;
  }

  /** @returns where joblib reads an array now; `unclear` when it reads one and it cannot be told where it ends */
  apply(effect: PartEffect): ArrayPlace | 'unclear' | undefined {
    if (effect.kind === 'build') return this.#build();
    this.#change(effect);
    return undefined;
  }

  #change(effect: Exclude<PartEffect, { kind: 'build' }>): void {
    const stack = this.#stack;
    switch (effect.kind) {
      case 'tuple':
        stack.push(this.#made(this.#tuple(effect.of)));
        break;
      case 'dict':
        stack.push(this.#made(stack.hasParts ? { kind: 'settings', entries: new Map(), isKnown: true } : null));
        break;
      case 'set-items':
        this.#setItems(effect.of);
        break;
      case 'call': {
        const args = stack.pop();
        stack.push(this.#made(isPart(stack.pop(), 'type-class') ? elementType(args) : null));
        break;
      }
      case 'new':
        this.#new();
        break;
    }
  }

  #made(value: PickleValue): PickleValue {
    if (value === null) return null;
    this.#parts += 1;
    return this.#parts > maxParts ? null : value;
  }

  #tuple(of: 0 | 1 | 2 | 3 | 'marked'): PickleValue {
    const stack = this.#stack;
    if (of !== 'marked') {
      const items = Array.from({ length: of }, () => stack.pop()).toReversed();
      return stack.hasParts ? tupleOf(items) : null;
    }
    if (stack.hasParts) return tupleOf(stack.takeToMark());
    stack.popToMark();
    return null;
  }

  #setItems(of: 1 | 'marked'): void {
    const stack = this.#stack;
    if (of === 1) {
      const value = stack.pop();
      this.#add([stack.pop(), value]);
    } else if (stack.hasParts) this.#add(stack.takeToMark());
    else stack.popToMark();
  }

  #add(items: readonly PickleValue[]): void {
    const target = this.#stack.top();
    if (isPart(target, 'settings')) addSettings(target, items);
  }

  #new(): void {
    const stack = this.#stack;
    const args = stack.pop();
    if (!isPart(stack.top(), 'wrapper-class')) {
      stack.pop();
      stack.push(null);
      return;
    }
    if (!isPart(args, 'tuple') || args.items.length > 0) stack.isAstray = true;
    stack.replaceTop({ kind: 'wrapper' });
  }

  #build(): ArrayPlace | 'unclear' | undefined {
    const stack = this.#stack;
    const state = stack.pop();
    const target = stack.top();
    if (isPart(target, 'type')) setState(target, state);
    if (!isPart(target, 'wrapper')) return undefined;
    stack.replaceTop(null);
    return placeOf(state) ?? 'unclear';
  }
}
