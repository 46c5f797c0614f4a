/** Does things in the order in which they came, each not before it is due. */
export class DelayLine {
  readonly #queue: { due: number; work: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;

  add(due: number, work: () => void): void {
    this.#queue.push({ due, work });
    this.#arm();
  }

  #arm(): void {
    const [first] = this.#queue;
    if (first && !this.#timer) this.#timer = setTimeout(() => this.#run(), Math.max(0, first.due - performance.now()));
  }

  #run(): void {
    this.#timer = undefined;
    // Timers are as fine as a millisecond: what is due within one is done now, so that the mean comes out right.
    for (let [next] = this.#queue; next && next.due <= performance.now() + 0.5; [next] = this.#queue) {
      this.#queue.shift();
      next.work();
    }
    this.#arm();
  }
}
