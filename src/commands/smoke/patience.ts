import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorError, toMirrorError } from '../../core/errors.ts';
import type { Reporter } from '../../core/events.ts';
import type { SieClient } from '../../sie/client.ts';
import { isUnknownHost, type WaitPhase } from '../../sie/faults.ts';

/** How often a busy cluster is asked; its own Retry-After is far longer than it takes. */
const pollMs = 2000;
/** How often is looked for what comes by itself. */
const settleMs = 500;
/** A worker without memory hardly gets some; SIE's own client gives up as early. */
const memoryTries = 3;

/** What waiting is measured by. */
export interface Clock {
  /** In milliseconds, from any beginning. */
  now(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** One that nobody sets. */
const steadyClock: Clock = {
  now: () => performance.now(),
  sleep: async (ms, signal) => sleep(ms, undefined, { signal }),
};

/** Seconds that went by waiting for each thing. */
export type Spent = Partial<Record<WaitPhase, number>>;

/** The time that a cluster is given, and what it was spent on. */
export class Patience {
  readonly spent: Spent = {};
  readonly seconds: number;
  readonly #model: string;
  readonly #report: Reporter;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  readonly #start: number;
  #mark: number;
  #told = '';
  #memory = 0;

  constructor(seconds: number, model: string, report: Reporter, signal: AbortSignal, clock = steadyClock) {
    this.#clock = clock;
    this.#start = clock.now();
    this.#mark = this.#start;
    this.seconds = seconds;
    this.#model = model;
    this.#report = report;
    this.#signal = signal;
  }

  /** Milliseconds until the time is up. */
  left(): number {
    return this.#start + this.seconds * 1000 - this.#clock.now();
  }

  /** Seconds since the beginning. */
  elapsed(): number {
    return (this.#clock.now() - this.#start) / 1000;
  }

  /**
   * Work that a gateway which is only starting up may refuse for a while; no answer takes longer than the time that is left.
   * @throws what waiting cannot help
   */
  async through<T>(client: SieClient, work: (client: SieClient) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        client.boundAnswers(this.left());
        return await work(client);
      } catch (error) {
        const known = toMirrorError(error);
        if (!known.retryable || isUnknownHost(known)) throw known;
        await this.pause('gateway', known.message, () => known);
      }
    }
  }

  /** Waits until the next try. @throws what `late` makes when the time is up, and E_SMOKE for a worker that stays without memory */
  async pause(phase: WaitPhase, reason: string, late: () => MirrorError | Promise<MirrorError>): Promise<void> {
    const left = this.left();
    if (phase === 'memory' && ++this.#memory > memoryTries) throw this.#outOfMemory();
    if (left <= 0) {
      this.#count(phase);
      throw await late();
    }
    if (reason !== this.#told)
      this.#report({
        type: 'note',
        text: `${this.#model}: waiting, ${reason} (${Math.round(this.elapsed())} of ${this.seconds} s)`,
      });
    this.#told = reason;
    const pause = phase === 'memory' ? pollMs * 2 ** this.#memory : pollMs;
    await this.#clock.sleep(Math.min(pause, left), this.#signal);
    this.#count(phase);
  }

  /**
   * Asks again and again until something is true, within this time and the time that is left.
   * @returns whether it became true, or stayed untrue for all of this time
   */
  async settle(ms: number, isTrue: () => Promise<boolean>): Promise<boolean> {
    const end = this.#clock.now() + ms;
    const until = Math.min(end, this.#clock.now() + Math.max(0, this.left()));
    for (;;) {
      const now = this.#clock.now();
      if ((await isTrue()) || now >= end) return true;
      if (now >= until) return false;
      await this.#clock.sleep(Math.min(settleMs, Math.max(0, until - this.#clock.now())), this.#signal);
    }
  }

  /** What comes now is no waiting. */
  resume(): void {
    this.#mark = this.#clock.now();
  }

  #count(phase: WaitPhase): void {
    const now = this.#clock.now();
    this.spent[phase] = (this.spent[phase] ?? 0) + (now - this.#mark) / 1000;
    this.#mark = now;
  }

  #outOfMemory(): MirrorError {
    return new MirrorError('E_SMOKE', `the worker is out of memory, ${memoryTries} tries later as well`, {
      hint: 'the models on this worker do not fit into its GPU memory: use a larger machine profile or fewer models',
      at: { side: 'target', item: this.#model },
    });
  }
}
