/** Numbers without an object for each. */
export class NumberList {
  #numbers = new Float64Array(16);
  #length = 0;

  push(value: number): void {
    if (this.#length === this.#numbers.length) {
      const larger = new Float64Array(2 * this.#length);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[this.#length] = value;
    this.#length += 1;
  }

  get values(): Float64Array {
    return this.#numbers.subarray(0, this.#length);
  }
}
