import { isPart, isWrapping, type PickleValue } from './array-wrapper.ts';

/** What a pickle's stack and memo may hold; files that want more lose what lies deepest, and texts in the memo. */
const maxDepth = 250_000;
const maxMemo = 500_000;
const maxMemoText = 8 * 1024 * 1024;

/**
 * The stack and the memo of an unpickler as far as texts are concerned, in bounded memory. What falls out of bounds
 * becomes unknown and never something else.
 */
export class PickleStack {
  readonly #values: PickleValue[] = [];
  /** Depths of the stack. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #memoText = 0;
  /** Something was asked for that a right pickle has put there before. */
  isBroken = false;
  /** More was put there than is kept. */
  isOverfull = false;
  /** A wrapper of an array went where joblib does not put it: who knows whether it becomes an array. */
  isAstray = false;
  /** Whether there may be parts of wrappers of arrays. */
  hasParts = false;

  push(value: PickleValue): void {
    if (this.#values.length >= maxDepth) this.#dropDeepest();
    this.#values.push(value);
  }

  pop(): PickleValue {
    const value = this.#values.pop();
    if (value === undefined) this.isBroken = true;
    if (this.hasParts && isWrapping(value)) this.isAstray = true;
    return value ?? null;
  }

  /** What is on top, which stays there; undefined when nothing is. */
  top(): PickleValue | undefined {
    return this.#values.at(-1);
  }

  /** Puts another value in the place of what is on top. */
  replaceTop(value: PickleValue): void {
    this.#values.pop();
    this.#values.push(value);
  }

  /** What POP does: a mark on top counts as a value. */
  popTop(): void {
    if (this.#marks.at(-1) === this.#values.length) this.#marks.pop();
    else this.pop();
  }

  duplicate(): void {
    const value = this.top();
    if (value === undefined) this.isBroken = true;
    if (isPart(value, 'wrapper')) this.isAstray = true;
    if (value === undefined) this.push(null);
    this.push(value ?? null);
  }

  mark(): void {
    if (this.#marks.length >= maxDepth) {
      this.#marks.splice(0, maxDepth / 2);
      this.isOverfull = true;
    }
    this.#marks.push(this.#values.length);
  }

  popToMark(): void {
    const depth = this.#marks.pop();
    if (depth === undefined) this.isBroken = true;
    if (this.hasParts) for (const value of this.#values.slice(depth)) if (isWrapping(value)) this.isAstray = true;
    this.#values.length = Math.min(depth ?? 0, this.#values.length);
  }

  /** Everything down to the last mark, the deepest first. */
  takeToMark(): PickleValue[] {
    const values = this.#values.slice(this.#marks.at(-1) ?? 0);
    this.popToMark();
    return values;
  }

  get(key: number): void {
    const value = this.#memo.get(key);
    if (value === undefined && !this.isOverfull) this.isBroken = true;
    if (isPart(value, 'wrapper')) this.isAstray = true;
    this.push(value ?? null);
  }

  put(key: number): void {
    const value = this.#values.at(-1);
    if (value === undefined) this.isBroken = true;
    if (!this.#memo.has(key) && this.#memo.size >= maxMemo) {
      this.isOverfull = true;
      return;
    }
    this.#memoText += typeof value === 'string' ? value.length : 0;
    const fits = this.#memoText <= maxMemoText;
    if (!fits) this.isOverfull = true;
    this.#memo.set(key, fits ? (value ?? null) : null);
  }

  /** Python numbers what it memoizes by how much there is. */
  memoize(): void {
    this.put(this.#memo.size);
  }

  #dropDeepest(): void {
    const dropped = maxDepth / 2;
    this.#values.splice(0, dropped);
    for (const [index, depth] of this.#marks.entries()) this.#marks[index] = Math.max(0, depth - dropped);
    this.isOverfull = true;
  }
}
